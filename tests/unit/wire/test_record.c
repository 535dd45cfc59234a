#include "tests/unit/wire/wire_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "libmq/wire/record.h"

static const struct mq_host v4 = { { 127, 0, 0, 1 }, 4, 10911 };
static const struct mq_host v6 = { { 0x20, 1, 0xd, 0xb8, [15] = 1 }, 16, 10911 };

static struct mq_record sample(void)
{
	return (struct mq_record){
		.body_crc = 0x12345678, .queue_id = 3, .flag = -1, .queue_offset = 5, .physical_offset = 1ll << 60,
		.sys_flag = MQ_SYS_COMPRESSED | MQ_SYS_COMMIT, .born_at_ms = 1795472583777, .store_at_ms = 1795472583999,
		.born_host = v4, .store_host = v4, .reconsume_times = 2, .prepared_offset = 77,
		.body = MQ_SLICE("hello"), .topic = MQ_SLICE("Golden"), .properties = MQ_SLICE("KEYS\001k\002"),
	};
}

/* Whole record in memory of its own size, so that the sanitizer sees the end. */
static struct mq_slice encode(const struct mq_record *r)
{
	size_t size = mq_record_size(r), n;
	char *p = malloc(size);

	n = mq_record_encode_head(r, p);
	assert_true(n <= MQ_RECORD_HEAD_MAX);
	memcpy(p + n, r->body.p, r->body.n);
	n += r->body.n;
	n += mq_record_encode_tail(r, p + n);
	assert_int_equal(n, size);
	return (struct mq_slice){ p, size };
}

static void free_slice(struct mq_slice s)
{
	free((void *)(uintptr_t)s.p);
}

static void assert_same(const struct mq_record *a, const struct mq_record *b)
{
	assert_int_equal(a->body_crc, b->body_crc);
	assert_int_equal(a->queue_id, b->queue_id);
	assert_int_equal(a->flag, b->flag);
	assert_true(a->queue_offset == b->queue_offset);
	assert_true(a->physical_offset == b->physical_offset);
	assert_true(a->born_at_ms == b->born_at_ms);
	assert_true(a->store_at_ms == b->store_at_ms);
	assert_int_equal(a->born_host.n_addr, b->born_host.n_addr);
	assert_memory_equal(a->born_host.addr, b->born_host.addr, a->born_host.n_addr);
	assert_int_equal(a->store_host.n_addr, b->store_host.n_addr);
	assert_memory_equal(a->store_host.addr, b->store_host.addr, a->store_host.n_addr);
	assert_int_equal(a->born_host.port, b->born_host.port);
	assert_int_equal(a->store_host.port, b->store_host.port);
	assert_int_equal(a->reconsume_times, b->reconsume_times);
	assert_true(a->prepared_offset == b->prepared_offset);
	assert_true(mq_slice_equal(a->body, b->body));
	assert_true(mq_slice_equal(a->topic, b->topic));
	assert_true(mq_slice_equal(a->properties, b->properties));
}

static void records_go_both_ways_with_either_kind_of_host(void **state)
{
	for (int hosts = 0; hosts < 4; hosts++) {
		struct mq_record r = sample(), back;
		struct mq_slice bytes;

		r.born_host = hosts & 1 ? v6 : v4;
		r.store_host = hosts & 2 ? v6 : v4;
		r.sys_flag |= MQ_SYS_BORN_V6; /* must follow the hosts, not what was left there */
		bytes = encode(&r);
		assert_int_equal(bytes.n, 91 + 12 * (hosts & 1) + 6 * (hosts & 2) + 5 + 6 + 7);
		assert_int_equal(mq_record_decode(bytes, &back), bytes.n);
		assert_int_equal(back.magic, MQ_RECORD_V1);
		assert_int_equal(back.sys_flag & 0xff, (MQ_SYS_COMPRESSED | MQ_SYS_COMMIT) | (hosts & 1 ? 0x10 : 0) |
							       (hosts & 2 ? 0x20 : 0));
		assert_same(&r, &back);

		assert_true(mq_record_store_at_ms(bytes) == r.store_at_ms);
		assert_true(mq_record_physical_offset(bytes) == r.physical_offset);
		mq_record_patch((char *)(uintptr_t)bytes.p, 1000, 2000, 3000);
		r.queue_offset = 1000;
		r.physical_offset = 2000;
		r.store_at_ms = 3000;
		assert_int_equal(mq_record_decode(bytes, &back), bytes.n);
		assert_same(&r, &back);
		free_slice(bytes);
	}
}

static void a_topic_over_127_bytes_makes_a_version_2_record(void **state)
{
	struct mq_record r = sample(), back;
	struct mq_slice bytes;
	char topic[255];

	memset(topic, 't', sizeof topic);
	for (size_t n = 127; n <= 255; n += 128) {
		r.topic = (struct mq_slice){ topic, n };
		bytes = encode(&r);
		assert_int_equal(mq_record_decode(bytes, &back), bytes.n);
		assert_int_equal(back.magic, n == 127 ? MQ_RECORD_V1 : MQ_RECORD_V2);
		assert_same(&r, &back);
		free_slice(bytes);
	}
}

static void a_record_that_is_cut_anywhere_is_refused(void **state)
{
	struct mq_record r = sample(), back;
	struct mq_slice bytes = encode(&r);

	for (size_t n = 0; n < bytes.n; n++) {
		char *cut = malloc(n ? n : 1);

		memcpy(cut, bytes.p, n);
		assert_int_equal(mq_record_decode((struct mq_slice){ cut, n }, &back), -EBADMSG);
		if (n >= 4) { /* also when its size agrees */
			mq_put32(cut, (uint32_t)n);
			assert_int_equal(mq_record_decode((struct mq_slice){ cut, n }, &back), -EBADMSG);
		}
		free(cut);
	}
	free_slice(bytes);
}

static void contradicting_lengths_and_unknown_magic_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
	} bad[] = {
		{ 0, 0 }, { 0, 0xffffffff }, { 0, 0x7fffffff }, { 0, 108 }, { 4, 0xCBD43194 }, { 4, 0 },
		{ 84, 0xffffffff }, { 84, 0x7fffffff }, { 84, 6 }, { 84, 4 }, { 36, 0x10 }, { 93, 0x80000000 },
	};
	struct mq_record r = sample(), back;
	struct mq_slice bytes = encode(&r);

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		char *copy = malloc(bytes.n);

		memcpy(copy, bytes.p, bytes.n);
		mq_put32(copy + bad[i].at, bad[i].value);
		assert_int_equal(mq_record_decode((struct mq_slice){ copy, bytes.n }, &back), -EBADMSG);
		free(copy);
	}
	free_slice(bytes);
}

static void the_body_crc_is_masked(void **state)
{
	assert_int_equal(mq_body_crc(MQ_SLICE("123456789")), 0xCBF43926 & 0x7fffffff);
	assert_int_equal(mq_body_crc((struct mq_slice){ NULL, 0 }), 0);
}

static void batch_bodies_go_both_ways(void **state)
{
	const struct mq_batch_entry in[] = { { 0, MQ_SLICE("one"), MQ_SLICE("a\001b\002") },
					     { 7, MQ_SLICE(""), MQ_SLICE("") } };
	struct mq_batch_entry e;
	char bytes[128];
	size_t n = 0;

	for (size_t i = 0; i < N_ELEMENTS(in); i++) {
		assert_int_equal(mq_batch_entry_encode(&in[i], bytes + n), mq_batch_entry_size(&in[i]));
		n += mq_batch_entry_size(&in[i]);
	}
	struct mq_slice rest = { bytes, n };
	for (size_t i = 0; i < N_ELEMENTS(in); i++) {
		int size = mq_batch_next(rest, &e);

		assert_int_equal(size, mq_batch_entry_size(&in[i]));
		assert_int_equal(e.flag, in[i].flag);
		assert_true(mq_slice_equal(e.body, in[i].body));
		assert_true(mq_slice_equal(e.properties, in[i].properties));
		rest.p += size;
		rest.n -= (size_t)size;
	}
	assert_int_equal(mq_batch_next(rest, &e), 0);

	for (size_t cut = 1; cut < 29; cut++)
		assert_int_equal(mq_batch_next((struct mq_slice){ bytes, cut }, &e), -EBADMSG);
	mq_put32(bytes + 16, 0xffffffff);
	assert_int_equal(mq_batch_next((struct mq_slice){ bytes, n }, &e), -EBADMSG);
	mq_put32(bytes, 0xffffffff);
	assert_int_equal(mq_batch_next((struct mq_slice){ bytes, n }, &e), -EBADMSG);
}

static void message_ids_name_host_and_offset(void **state)
{
	char id[MQ_MESSAGE_ID_MAX];
	struct mq_host host;
	int64_t offset;

	mq_message_id_encode(&v4, 0, id);
	assert_string_equal(id, "7F00000100002A9F0000000000000000");
	assert_int_equal(mq_message_id_decode(MQ_SLICE("7f00000100002a9f00000000000001a0"), &host, &offset), 0);
	assert_int_equal(host.n_addr, 4);
	assert_memory_equal(host.addr, v4.addr, 4);
	assert_int_equal(host.port, 10911);
	assert_int_equal(offset, 416);

	mq_message_id_encode(&v6, INT64_MAX, id);
	assert_int_equal(strlen(id), 56);
	assert_int_equal(mq_message_id_decode(mq_slice_of(id), &host, &offset), 0);
	assert_int_equal(host.n_addr, 16);
	assert_memory_equal(host.addr, v6.addr, 16);
	assert_true(offset == INT64_MAX);

	static const char *const bad[] = { "", "7F", "7F00000100002A9F000000000000000", "7F00000100002A9F000000000000000G",
					   "7F00000100002A9F00000000000000000" };
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_int_equal(mq_message_id_decode(mq_slice_of(bad[i]), &host, &offset), -EBADMSG);
}

static void unique_ids_have_javas_layout(void **state)
{
	char a[MQ_MESSAGE_ID_MAX], b[MQ_MESSAGE_ID_MAX];
	int64_t second = 1700000000000;

	mq_unique_id(&v4, second, a);
	mq_unique_id(&v4, second + 1000, b);
	assert_int_equal(strlen(a), 32);
	assert_memory_equal(a, "7F000001", 8);
	assert_memory_equal(a, b, 20);
	assert_true(strcmp(a, b) != 0);
	assert_int_equal(strtoul((char[9]){ b[20], b[21], b[22], b[23], b[24], b[25], b[26], b[27] }, NULL, 16) -
				 strtoul((char[9]){ a[20], a[21], a[22], a[23], a[24], a[25], a[26], a[27] }, NULL, 16),
			 1000);
	mq_unique_id(&v6, second, a);
	assert_int_equal(strlen(a), 56);
}

enum { IDS = 4000, THREADS = 4 };

static void *make_ids(void *user)
{
	char(*ids)[MQ_MESSAGE_ID_MAX] = user;

	for (int i = 0; i < IDS; i++)
		mq_unique_id(&v4, 1700000000000, ids[i]);
	return NULL;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void unique_ids_of_several_threads_differ(void **state)
{
	char(*ids)[MQ_MESSAGE_ID_MAX] = calloc(IDS * THREADS, sizeof *ids);
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * IDS), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(ids, IDS * THREADS, sizeof *ids, compare_ids);
	for (int i = 1; i < IDS * THREADS; i++)
		assert_true(strcmp(ids[i - 1], ids[i]) != 0);
	free(ids);
}

static void tag_hashes_are_javas(void **state)
{
	assert_int_equal(mq_java_hash(MQ_SLICE("")), 0);
	assert_int_equal(mq_java_hash(MQ_SLICE("TagA")), 2598919);
	assert_int_equal(mq_java_hash(MQ_SLICE("TagB")), 2598920);
	assert_int_equal(mq_java_hash(MQ_SLICE("AaAa")), mq_java_hash(MQ_SLICE("BBBB")));
	assert_int_equal(mq_java_hash(MQ_SLICE("\xe4\xb8\xad\xe6\x96\x87")), 0x4e2d * 31 + 0x6587);
	assert_int_equal(mq_java_hash(MQ_SLICE("\xf0\x9f\x98\x80")), 0xd83d * 31 + 0xde00);
	assert_int_equal(mq_java_hash(MQ_SLICE("\xff")), 0xfffd);
	assert_int_equal(mq_java_hash(MQ_SLICE("a string long enough to wrap around")), -1021585478);
}

static void hosts_are_read_and_written(void **state)
{
	static const char *const bad[] = { "", ":", "10.0.0.1", "10.0.0.1:", ":1", "10.0.0.1:x", "10.0.0.1:65536", "::1:9876",
					   "[::1]", "[::1:9876", "localhost:1", "10.0.0.1:000001", "[10.0.0.1]:1", "[]:1" };
	static const char *const good[] = { "10.0.0.1:10911", "[::1]:9876", "[2001:db8::1]:0", "255.255.255.255:65535" };
	char text[MQ_HOST_TEXT_MAX];
	struct mq_host host;

	for (size_t i = 0; i < N_ELEMENTS(good); i++) {
		assert_int_equal(mq_host_parse(mq_slice_of(good[i]), &host), 0);
		assert_string_equal(mq_host_format(&host, text), good[i]);
	}
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_int_equal(mq_host_parse(mq_slice_of(bad[i]), &host), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_go_both_ways_with_either_kind_of_host),
		cmocka_unit_test(a_topic_over_127_bytes_makes_a_version_2_record),
		cmocka_unit_test(a_record_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(contradicting_lengths_and_unknown_magic_are_refused),
		cmocka_unit_test(the_body_crc_is_masked),
		cmocka_unit_test(batch_bodies_go_both_ways),
		cmocka_unit_test(message_ids_name_host_and_offset),
		cmocka_unit_test(unique_ids_have_javas_layout),
		cmocka_unit_test(unique_ids_of_several_threads_differ),
		cmocka_unit_test(tag_hashes_are_javas),
		cmocka_unit_test(hosts_are_read_and_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
