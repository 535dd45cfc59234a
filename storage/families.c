/* Families for messages. Making one takes a millisecond at best and a second at worst, so the keeper makes spares ahead of need,
 * and a queue takes one with its first record. Beyond storeMaxFamilies queues share sixteen.
 *
 * A family of its own costs a queue that is written all the time a file, two syncs and some ten walks over all families for each
 * share of the memory it fills, so what a message costs grows with the square of their number, and sharing pays early. 1,000
 * queues, all busy, 1 KiB of which half is random, storeMemoryBytes=128M, 2 cores:
 *
 *   storeMaxFamilies      64       128       256      1000
 *   messages/s       114,900   109,700    92,000    39,900
 *   CPU, us/message     12.2      12.8      15.1      35.0
 *   memory, MiB           91       109       134       165
 *
 * A shared family in turn writes a byte once or twice more, to merge its files, and a backlog is read from it some 15 % slower: 256 is
 * where most brokers have no queue that shares, and those that have thousands lose a fifth. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/internal.h"

bool family_name_parse(const char *name, bool *ret_is_shared, uint32_t *ret_number)
{
	char *end;
	unsigned long n;

	if ((name[0] != 'f' && name[0] != 's') || name[1] < '0' || name[1] > '9')
		return false;
	n = strtoul(name + 1, &end, 10);
	if (*end || n > UINT32_MAX)
		return false;
	*ret_is_shared = name[0] == 's';
	*ret_number = (uint32_t)n;
	return true;
}

struct store_family *family_new(const char *name, rocksdb_column_family_handle_t *cf)
{
	struct store_family *f = calloc(1, sizeof *f);

	if (!f || !family_name_parse(name, &f->is_shared, &f->number)) {
		free(f);
		return NULL;
	}
	f->cf = cf;
	return f;
}

void family_free(struct store_family *f)
{
	if (!f)
		return;
	rocksdb_column_family_handle_destroy(f->cf);
	free(f);
}

struct store_family *family_take(struct store *s, uint32_t hash)
{
	struct store_family *f;
	bool wants_keeper;
	LOCKED(&s->spares_lock);

	f = STAILQ_FIRST(&s->spares);
	if (f) {
		STAILQ_REMOVE_HEAD(&s->spares, link);
		s->n_spares--;
		wants_keeper = s->n_spares < SPARES_LOW && s->n_own < s->cfg.max_families;
	} else if (s->n_own >= s->cfg.max_families) {
		f = s->shared[hash % SHARED_FAMILIES];
		if (!f)
			s->shared_wanted |= BIT(hash % SHARED_FAMILIES);
		wants_keeper = !f;
	} else {
		s->n_wanted++;
		wants_keeper = true;
	}
	if (!f)
		atomic_store(&s->ops_wait, true);
	if (wants_keeper)
		keeper_wake(s);
	return f;
}

void family_bury(struct store *s, struct store_family *f)
{
	LOCKED(&s->spares_lock);

	f->let_go_at = atomic_load(&s->written_sequence);
	STAILQ_INSERT_TAIL(&s->dead, f, link);
}

static struct store_family *family_create(struct store *s, bool is_shared, uint32_t number, unsigned n_families)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	rocksdb_options_t *options = store_options_family(&s->options, is_shared ? FAMILY_MIXED : FAMILY_QUEUE, n_families);
	rocksdb_column_family_handle_t *cf;
	struct store_family *f = NULL;
	char name[16];

	snprintf(name, sizeof name, "%c%u", is_shared ? 's' : 'f', number);
	cf = rocksdb_create_column_family(s->db, options, name, &text);
	rocksdb_options_destroy(options);
	if (cf && !text)
		f = family_new(name, cf);
	if (!f && cf)
		rocksdb_column_family_handle_destroy(cf); /* there is one around nothing, too */
	if (!f && text && store_was_refused(text))
		space_refused(s);
	else if (!f)
		store_set_state(s, STORE_FAILED, "cannot make a column family in %s: %s; nothing is written any more until restart",
				s->cfg.path, text ? text : "no memory");
	return f;
}

/* One more spare if one is wanted. 1: made, 0: none wanted, -EIO. */
static int families_make_spare(struct store *s)
{
	uint32_t number;
	struct store_family *f;
	unsigned n;

	pthread_mutex_lock(&s->spares_lock);
	n = s->n_own;
	if (n >= s->cfg.max_families || s->n_spares >= SPARES_FULL + s->n_wanted) {
		pthread_mutex_unlock(&s->spares_lock);
		return 0;
	}
	number = s->next_family++;
	s->n_own++;
	pthread_mutex_unlock(&s->spares_lock);

	f = family_create(s, false, number, n);
	LOCKED(&s->spares_lock);
	if (!f) {
		s->n_own--;
		return -EIO;
	}
	STAILQ_INSERT_TAIL(&s->spares, f, link);
	s->n_spares++;
	return 1;
}

static int families_make_shared(struct store *s)
{
	int n_made = 0;

	for (uint32_t i = 0; i < SHARED_FAMILIES; i++) {
		struct store_family *f;
		bool is_wanted;

		pthread_mutex_lock(&s->spares_lock);
		is_wanted = (s->shared_wanted & BIT(i)) && !s->shared[i];
		s->shared_wanted &= ~BIT(i);
		pthread_mutex_unlock(&s->spares_lock);
		if (!is_wanted)
			continue;
		f = family_create(s, true, i, s->cfg.max_families);
		if (!f)
			return -EIO;
		LOCKED(&s->spares_lock);
		s->shared[i] = f;
		n_made++;
	}
	return n_made;
}

static void family_keep_dead(struct store *s, struct store_family *f)
{
	LOCKED(&s->spares_lock);

	STAILQ_INSERT_HEAD(&s->dead, f, link);
}

void families_drop_dead(struct store *s)
{
	/* This is how a full disk gets free again: by deleted topics and by what retention emptied. */
	if (store_state(s) == STORE_FAILED || (store_state(s) == STORE_NO_SPACE && space_is_critical(s)))
		return;
	for (;;) {
		_cleanup_(rocksdb_textp) char *text = NULL;
		struct store_family *f;

		keeper_goes_on(s);
		pthread_mutex_lock(&s->spares_lock);
		f = STAILQ_FIRST(&s->dead);
		if (f)
			STAILQ_REMOVE_HEAD(&s->dead, link);
		pthread_mutex_unlock(&s->spares_lock);
		if (!f)
			return;
		if (store_sync_to(s, f->let_go_at) < 0) { /* the state says why */
			family_keep_dead(s, f);
			return;
		}

		/* A pass on a reader is at it, which takes long: at the next tick. */
		if (pthread_mutex_trylock(&s->retain_lock)) {
			family_keep_dead(s, f);
			return;
		}
		rocksdb_drop_column_family(s->db, f->cf, &text);
		if (text && store_was_refused(text)) {
			pthread_mutex_unlock(&s->retain_lock);
			space_refused(s);
			family_keep_dead(s, f);
			return;
		}
		family_free(f);
		pthread_mutex_unlock(&s->retain_lock);
		if (text) {
			store_set_state(s, STORE_FAILED, "cannot drop a column family in %s: %s; nothing is written any more until restart",
					s->cfg.path, text);
			return;
		}
		LOCKED(&s->spares_lock);
		s->n_own--;
	}
}

bool families_make(struct store *s)
{
	enum { AT_ONCE = 16 }; /* then the waiting ops get theirs */
	unsigned n_wanted;
	int r = 0, n_shared, n_made = 0;

	atomic_store(&s->ops_wait, false);
	if (store_state(s) != STORE_WRITABLE)
		return true; /* what waits is to be refused */
	pthread_mutex_lock(&s->spares_lock);
	n_wanted = s->n_wanted;
	pthread_mutex_unlock(&s->spares_lock);

	/* Who wanted one of these asked until it was made, perhaps only since the line above: it is not asked for again. */
	n_shared = r = families_make_shared(s);
	while (r >= 0 && n_made < AT_ONCE && (r = families_make_spare(s)) > 0)
		n_made++;
	return n_wanted > 0 || n_shared > 0 || r < 0;
}

void families_free(struct store *s)
{
	struct store_family *f;

	while ((f = STAILQ_FIRST(&s->spares)) || (f = STAILQ_FIRST(&s->dead))) {
		if (f == STAILQ_FIRST(&s->spares))
			STAILQ_REMOVE_HEAD(&s->spares, link);
		else
			STAILQ_REMOVE_HEAD(&s->dead, link);
		family_free(f);
	}
	for (int i = 0; i < SHARED_FAMILIES; i++)
		family_free(s->shared[i]);
}
