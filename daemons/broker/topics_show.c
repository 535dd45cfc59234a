/* Configurations as JSON: for answers, for NameServers, and for the rows of the store. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/topics_internal.h"

void topic_row_write(struct mq_json_writer *w, const struct topic_row *row, int32_t perm_without)
{
	struct mq_topic_config c = {
		.name = topic_row_name(row),
		.read_queues = row->config.read_queues,
		.write_queues = row->config.write_queues,
		.perm = row->config.perm & ~perm_without,
		.sys_flag = row->config.sys_flag,
		.is_order = row->config.is_order,
		.is_multi_tag = row->config.is_multi_tag,
		.attributes = mq_slice_of(row->attributes),
	};

	mq_topic_config_write(w, &c);
}

static int row_compare(const void *a, const void *b)
{
	const struct topic_row *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void topics_write_member(struct mq_json_writer *w, const struct topic_row *row, int32_t perm_without)
{
	mq_json_key_slice(w, topic_row_name(row));
	topic_row_write(w, row, perm_without);
}

static int topics_write_page(struct topics *t, struct mq_json_writer *w, const struct topics_range *range)
{
	unsigned n = HASH_COUNT(t->rows), i = 0;
	const struct topic_row **sorted = calloc(n ? n : 1, sizeof(struct topic_row *));

	if (!sorted)
		return -ENOMEM;
	for (const struct topic_row *row = t->rows; row; row = row->hh.next)
		sorted[i++] = row;
	qsort(sorted, n, sizeof(struct topic_row *), row_compare);
	for (i = range->first; i < n && i - range->first < range->max; i++)
		topics_write_member(w, sorted[i], range->perm_without);
	free(sorted);
	return 0;
}

static int topics_write_range(struct topics *t, struct mq_json_writer *w, const struct topics_range *range)
{
	const struct topic_row *row;

	if (range->max > 0)
		return topics_write_page(t, w, range);
	if (range->only.n > 0) {
		row = topics_find(t, range->only);
		if (row)
			topics_write_member(w, row, range->perm_without);
		return 0;
	}
	for (row = t->rows; row; row = row->hh.next)
		topics_write_member(w, row, range->perm_without);
	return 0;
}

int topics_encode_table(struct topics *t, const struct topics_range *range, struct evbuffer *out)
{
	struct mq_json_writer w;
	int n, r;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	pthread_rwlock_rdlock(&t->lock);
	mq_json_key(&w, "dataVersion");
	mq_data_version_write(&w, &t->version);
	mq_json_key(&w, "mappingDataVersion");
	mq_data_version_write(&w, &t->mapping_version);
	mq_json_key(&w, "topicConfigTable");
	mq_json_open_object(&w);
	r = topics_write_range(t, &w, range);
	mq_json_close_object(&w);
	n = (int)HASH_COUNT(t->rows);
	pthread_rwlock_unlock(&t->lock);
	mq_json_key(&w, "topicQueueMappingDetailMap");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	mq_json_key(&w, "topicQueueMappingInfoMap");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	if (mq_json_end(&w) < 0)
		r = -ENOMEM;
	return r < 0 ? r : n;
}

int topics_encode(struct topics *t, struct mq_slice name, struct evbuffer *out)
{
	const struct topic_row *row;
	struct mq_json_writer w;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&t->lock);
	row = topics_find(t, name);
	if (row) {
		mq_json_begin(&w, out);
		topic_row_write(&w, row, 0);
		r = mq_json_end(&w);
	}
	pthread_rwlock_unlock(&t->lock);
	return r;
}
