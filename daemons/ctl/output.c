#include "daemons/ctl/output.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/base/utf8.h"

struct table {
	const struct column *columns; /* borrowed */
	unsigned n_columns;
	char **cells; /* owned, each */
	size_t n_cells, capacity;
	int error;
};

int table_new(struct table **ret, const struct column *columns, unsigned n_columns)
{
	struct table *t = calloc(1, sizeof *t);

	if (!t)
		return -ENOMEM;
	t->columns = columns;
	t->n_columns = n_columns;
	*ret = t;
	return 0;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
	return NULL;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->error < 0)
		return;
	if (t->n_cells == t->capacity) {
		size_t capacity = t->capacity ? t->capacity * 2 : 64;
		char **larger = realloc(t->cells, capacity * sizeof *larger);

		if (!larger) {
			t->error = -ENOMEM;
			return;
		}
		t->cells = larger;
		t->capacity = capacity;
	}
	va_start(ap, fmt);
	n = vasprintf(&t->cells[t->n_cells], fmt, ap);
	va_end(ap);
	if (n < 0)
		t->error = -ENOMEM;
	else
		t->n_cells++;
}

unsigned table_rows(const struct table *t)
{
	return (unsigned)(t->n_cells / t->n_columns);
}

static const char *cell_text(const struct table *t, unsigned row, unsigned column)
{
	const char *text = t->cells[(size_t)row * t->n_columns + column];

	return *text ? text : "-";
}

/* Characters, not bytes: what a UTF-8 text takes on the screen, near enough. */
static int display_width(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_padded(const char *text, int width, enum column_kind kind, bool is_last, FILE *out)
{
	int pad = width - display_width(text);

	if (kind == COLUMN_NUMBER)
		fprintf(out, "%*s%s", pad, "", text);
	else if (is_last)
		fputs(text, out);
	else
		fprintf(out, "%s%*s", text, pad, "");
	fputs(is_last ? "\n" : "  ", out);
}

static int print_table(const struct table *t, FILE *out)
{
	_cleanup_(freep) int *widths = calloc(t->n_columns, sizeof *widths);

	if (!widths)
		return -ENOMEM;
	for (unsigned c = 0; c < t->n_columns; c++) {
		widths[c] = display_width(t->columns[c].title);
		for (unsigned r = 0; r < table_rows(t); r++) {
			int w = display_width(cell_text(t, r, c));

			widths[c] = w > widths[c] ? w : widths[c];
		}
	}
	for (unsigned c = 0; c < t->n_columns; c++)
		print_padded(t->columns[c].title, widths[c], t->columns[c].kind, c + 1 == t->n_columns, out);
	for (unsigned r = 0; r < table_rows(t); r++)
		for (unsigned c = 0; c < t->n_columns; c++)
			print_padded(cell_text(t, r, c), widths[c], t->columns[c].kind,
				     c + 1 == t->n_columns, out);
	return 0;
}

/* A field must stay one field. */
static void print_plain(const struct table *t, FILE *out)
{
	for (unsigned r = 0; r < table_rows(t); r++)
		for (unsigned c = 0; c < t->n_columns; c++) {
			for (const char *p = cell_text(t, r, c); *p; p++)
				fputc(*p == ' ' ? '_' : *p, out);
			fputc(c + 1 == t->n_columns ? '\n' : ' ', out);
		}
}

static int print_json(const struct table *t, FILE *out)
{
	struct json_out j;
	int r;

	r = json_out_init(&j);
	if (r < 0)
		return r;
	mq_json_open_array(&j.w);
	for (unsigned row = 0; row < table_rows(t); row++) {
		mq_json_open_object(&j.w);
		for (unsigned c = 0; c < t->n_columns; c++) {
			struct mq_slice text = mq_slice_of(t->cells[(size_t)row * t->n_columns + c]);

			mq_json_key(&j.w, t->columns[c].key);
			if (text.n == 0)
				mq_json_raw(&j.w, MQ_SLICE("null"));
			else if (t->columns[c].kind == COLUMN_NUMBER)
				mq_json_raw(&j.w, text);
			else if (t->columns[c].kind == COLUMN_FLAG)
				mq_json_raw(&j.w, mq_slice_is(text, "yes") ? MQ_SLICE("true") : MQ_SLICE("false"));
			else
				mq_json_string(&j.w, text);
		}
		mq_json_close_object(&j.w);
	}
	mq_json_close_array(&j.w);
	r = json_out_print(&j, out);
	json_out_done(&j);
	return r;
}

int table_print(struct table *t, enum output_format format, FILE *out)
{
	if (t->error < 0)
		return t->error;
	if (format == FORMAT_JSON)
		return print_json(t, out);
	if (format == FORMAT_PLAIN) {
		print_plain(t, out);
		return 0;
	}
	return print_table(t, out);
}

int json_out_init(struct json_out *j)
{
	j->buffer = evbuffer_new();
	if (!j->buffer)
		return -ENOMEM;
	mq_json_begin(&j->w, j->buffer);
	return 0;
}

int json_out_print(struct json_out *j, FILE *out)
{
	size_t n = evbuffer_get_length(j->buffer);
	int r = mq_json_end(&j->w);

	if (r < 0)
		return r;
	if (n > 0)
		fwrite(evbuffer_pullup(j->buffer, -1), 1, n, out);
	fputc('\n', out);
	evbuffer_drain(j->buffer, n);
	mq_json_begin(&j->w, j->buffer);
	return 0;
}

void json_out_done(struct json_out *j)
{
	evbuffer_free(j->buffer);
	j->buffer = NULL;
}

static char *to_base64(struct mq_slice bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc(bytes.n / 3 * 4 + 5), *to = text;
	const unsigned char *p = (const unsigned char *)bytes.p;

	if (!text)
		return NULL;
	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t left = bytes.n - i;
		unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
			     (left > 2 ? p[i + 2] : 0);

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = left > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[v & 63] : '=';
	}
	*to = '\0';
	return text;
}

void json_out_bytes(struct json_out *j, const char *name, const char *name_base64, struct mq_slice bytes)
{
	_cleanup_(freep) char *base64 = NULL;

	if (mq_utf8_is(bytes)) {
		mq_json_member_string(&j->w, name, bytes);
		return;
	}
	base64 = to_base64(bytes);
	if (base64)
		mq_json_member_string(&j->w, name_base64, mq_slice_of(base64));
	else
		j->w.error = -ENOMEM;
}

void output_text(struct mq_slice text, bool is_terminal, FILE *out)
{
	if (!is_terminal) {
		fwrite(text.p, 1, text.n, out);
		return;
	}
	bool is_utf8 = mq_utf8_is(text);

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		/* C1 controls arrive in UTF-8 as C2 80 to C2 9F. */
		bool is_c1 = c == 0xc2 && i + 1 < text.n && (unsigned char)text.p[i + 1] < 0xa0;

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || (c >= 0x80 && !is_utf8)) {
			fputc('.', out);
		} else if (is_c1) {
			fputc('.', out);
			i++;
		} else {
			fputc(c, out);
		}
	}
}
