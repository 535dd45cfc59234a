#include "daemons/namesrv/kv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libmq/wire/json.h"

/* --- the table ----------------------------------------------------------------------------------------------------- */

const struct kv_namespace *kv_namespace(const struct kv *kv, struct mq_slice ns)
{
	struct kv_namespace *n;

	HASH_FIND(hh, kv->namespaces, ns.p, ns.n, n);
	return n;
}

static struct kv_pair *find(const struct kv *kv, struct mq_slice ns, struct mq_slice key)
{
	const struct kv_namespace *n = kv_namespace(kv, ns);
	struct kv_pair *p = NULL;

	if (n)
		HASH_FIND(hh, n->pairs, key.p, key.n, p);
	return p;
}

struct mq_slice kv_get(const struct kv *kv, struct mq_slice ns, struct mq_slice key)
{
	const struct kv_pair *p = find(kv, ns, key);

	return p ? mq_slice_of(p->value) : (struct mq_slice){};
}

static void pair_free(struct kv *kv, struct kv_namespace *n, struct kv_pair *p)
{
	HASH_DELETE(hh, n->pairs, p);
	kv->size -= strlen(p->key) + strlen(p->value);
	free(p->key);
	free(p->value);
	free(p);
}

static void namespace_free(struct kv *kv, struct kv_namespace *n)
{
	struct kv_pair *p, *next;

	HASH_ITER(hh, n->pairs, p, next)
		pair_free(kv, n, p);
	HASH_DELETE(hh, kv->namespaces, n);
	kv->size -= strlen(n->name);
	free(n->name);
	free(n);
}

static int namespace_by_name(const struct kv_namespace *a, const struct kv_namespace *b)
{
	return strcmp(a->name, b->name);
}

static int pair_by_key(const struct kv_pair *a, const struct kv_pair *b)
{
	return strcmp(a->key, b->key);
}

static struct kv_namespace *namespace_new(struct kv *kv, struct mq_slice name)
{
	struct kv_namespace *n = calloc(1, sizeof *n);

	if (!n || !(n->name = mq_slice_dup(name))) {
		free(n);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, kv->namespaces, n->name, name.n, n);
	HASH_SRT(hh, kv->namespaces, namespace_by_name);
	kv->size += name.n;
	return n;
}

/* The pair of this key, made with an empty value if there is none. */
static struct kv_pair *pair_make(struct kv *kv, struct mq_slice ns, struct mq_slice key)
{
	struct kv_namespace *n = (struct kv_namespace *)kv_namespace(kv, ns);
	struct kv_pair *p = find(kv, ns, key);

	if (p)
		return p;
	if (!n)
		n = namespace_new(kv, ns);
	p = n ? calloc(1, sizeof *p) : NULL;
	if (!p)
		return NULL;
	p->key = mq_slice_dup(key);
	p->value = mq_slice_dup((struct mq_slice){});
	if (!p->key || !p->value) {
		free(p->key);
		free(p->value);
		free(p);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, n->pairs, p->key, key.n, p);
	kv->size += key.n;
	return p;
}

/* Puts without writing the file. Takes over `value`. */
static int table_put(struct kv *kv, struct mq_slice ns, struct mq_slice key, char *value)
{
	struct kv_pair *p = value ? pair_make(kv, ns, key) : NULL;

	if (!p) {
		free(value);
		return -ENOMEM;
	}
	kv->size += strlen(value) - strlen(p->value);
	free(p->value);
	p->value = value;
	return 0;
}

static void table_delete(struct kv *kv, struct mq_slice ns, struct mq_slice key)
{
	struct kv_pair *p = find(kv, ns, key);

	if (p)
		pair_free(kv, (struct kv_namespace *)kv_namespace(kv, ns), p);
}

/* --- the file ------------------------------------------------------------------------------------------------------ */

static int encode(struct kv *kv, struct evbuffer *out)
{
	struct mq_json_writer w;
	struct kv_namespace *n;
	struct kv_pair *p;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "configTable");
	mq_json_open_object(&w);
	for (n = kv->namespaces; n; n = n->hh.next) {
		HASH_SRT(hh, n->pairs, pair_by_key);
		mq_json_key_slice(&w, mq_slice_of(n->name));
		mq_json_open_object(&w);
		for (p = n->pairs; p; p = p->hh.next)
			mq_json_member_string(&w, p->key, mq_slice_of(p->value));
		mq_json_close_object(&w);
	}
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

static int sync_directory(const char *path)
{
	_cleanup_(freep) char *directory = strdup(path);
	_cleanup_(closep) int fd = -1;
	char *slash = directory ? strrchr(directory, '/') : NULL;

	if (!directory)
		return -ENOMEM;
	if (slash)
		slash[slash == directory] = '\0';
	fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int write_all(int fd, struct evbuffer *text)
{
	while (evbuffer_get_length(text) > 0)
		if (evbuffer_write(text, fd) < 0 && errno != EINTR)
			return -errno;
	return 0;
}

/* Temporary file, sync, rename, sync of the directory. */
static int save_text(const char *path, struct evbuffer *text)
{
	_cleanup_(freep) char *temporary = NULL;
	_cleanup_(closep) int fd = -1;
	int r;

	if (asprintf(&temporary, "%s.tmp", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return sync_directory(path);
}

static int save(struct kv *kv, struct mq_error *err)
{
	struct evbuffer *text = evbuffer_new();
	int r = text ? encode(kv, text) : -ENOMEM;

	if (r == 0)
		r = save_text(kv->path, text);
	if (text)
		evbuffer_free(text);
	return r < 0 ? mq_error_set(err, r, "cannot write %s: %s", kv->path, strerror(-r)) : 0;
}

/* Reads the whole file. -ENOENT when there is none. */
static int read_file(const char *path, char **ret, size_t *ret_n)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(freep) char *text = NULL;
	struct stat st;
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > KV_FILE_MAX)
		return -E2BIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (got > 0 && n < (size_t)st.st_size) {
		got = read(fd, text + n, (size_t)st.st_size - n);
		if (got < 0)
			return -errno;
		n += (size_t)got;
	}
	*ret = TAKE(text);
	*ret_n = n;
	return 0;
}

static int load_text(struct kv *kv, struct mq_slice text, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	int r = mq_json_parse(&doc, text, err);

	if (r < 0)
		return r;
	if (!mq_json_get(mq_json_root(doc), "configTable"))
		return mq_error_set(err, -EBADMSG, "the member configTable is missing");
	MQ_JSON_EACH(ns, mq_json_get(mq_json_root(doc), "configTable")) {
		struct mq_slice name = mq_json_text(ns->key);

		/* A namespace stays when its last key goes, and so it does here. */
		if (!name.p || (!kv_namespace(kv, name) && !namespace_new(kv, name)))
			return name.p ? -ENOMEM : mq_error_set(err, -EBADMSG, "a namespace is not text");
		MQ_JSON_EACH(pair, ns) {
			struct mq_slice key = mq_json_text(pair->key), value = mq_json_text(pair);

			if (!key.p || !value.p)
				return mq_error_set(err, -EBADMSG, "a key or a value is not text");
			r = table_put(kv, name, key, mq_slice_dup(value));
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The directories above the file, as far as they are missing. */
static int make_directories(const char *path)
{
	_cleanup_(freep) char *directory = strdup(path);

	if (!directory)
		return -ENOMEM;
	for (char *slash = strchr(directory + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(directory, 0750) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

int kv_init(struct kv *kv, const char *path, struct mq_error *err)
{
	_cleanup_(freep) char *text = NULL;
	struct mq_error why = {};
	size_t n = 0;
	int r;

	*kv = (struct kv){ .path = strdup(path) };
	if (!kv->path)
		return -ENOMEM;
	r = read_file(path, &text, &n);
	if (r == -ENOENT)
		r = make_directories(path);
	else if (r == 0)
		r = load_text(kv, (struct mq_slice){ text, n }, &why);
	if (r < 0) {
		kv_done(kv);
		return mq_error_set(err, r, "kvConfigPath=%s: %s%s", path, why.text[0] ? why.text : strerror(-r),
				    r == -EACCES || r == -EROFS ? "; set it to a file that this user may write" : "");
	}
	return 0;
}

void kv_done(struct kv *kv)
{
	struct kv_namespace *n, *next;

	HASH_ITER(hh, kv->namespaces, n, next)
		namespace_free(kv, n);
	free(kv->path);
	*kv = (struct kv){};
}

/* --- changes ------------------------------------------------------------------------------------------------------- */

static bool has_zero(struct mq_slice text)
{
	return text.n > 0 && memchr(text.p, '\0', text.n);
}

int kv_put(struct kv *kv, struct mq_slice ns, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	struct mq_slice old = kv_get(kv, ns, key);
	_cleanup_(freep) char *before = old.p ? mq_slice_dup(old) : NULL;
	int r;

	if (ns.n > KV_TEXT_MAX || key.n > KV_TEXT_MAX || value.n > KV_TEXT_MAX)
		return mq_error_set(err, -E2BIG, "namespace, key and value have at most %d bytes", KV_TEXT_MAX);
	if (kv->size + ns.n + key.n + value.n > KV_FILE_MAX / 2)
		return mq_error_set(err, -E2BIG, "the key-value table is full");
	if (has_zero(ns) || has_zero(key) || has_zero(value))
		return mq_error_set(err, -EINVAL, "namespace, key and value are texts without zero bytes");
	if (old.p && !before)
		return -ENOMEM;
	r = table_put(kv, ns, key, mq_slice_dup(value));
	if (r == 0)
		r = save(kv, err);
	if (r < 0 && before)
		(void)table_put(kv, ns, key, TAKE(before)); /* cannot fail: the pair is there */
	else if (r < 0)
		table_delete(kv, ns, key);
	return r;
}

int kv_delete(struct kv *kv, struct mq_slice ns, struct mq_slice key, struct mq_error *err)
{
	struct mq_slice old = kv_get(kv, ns, key);
	_cleanup_(freep) char *before = old.p ? mq_slice_dup(old) : NULL;
	int r;

	if (!old.p)
		return 0;
	if (!before)
		return -ENOMEM;
	table_delete(kv, ns, key);
	r = save(kv, err);
	if (r < 0)
		(void)table_put(kv, ns, key, TAKE(before)); /* the error of the file is the one that counts */
	return r;
}
