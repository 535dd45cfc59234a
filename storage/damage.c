/* Rows that cannot be read. They are passed over: what the others are for goes on. */
#include <stdio.h>

#include "storage/internal.h"

enum { KEY_SHOWN = 40 }; /* bytes: all of a key but the end of a long name */

void damage_text(char ret[DAMAGE_TEXT_MAX], enum system_family family, struct mq_slice key, struct mq_slice value)
{
	size_t n_shown = key.n < KEY_SHOWN ? key.n : KEY_SHOWN;
	int n = snprintf(ret, DAMAGE_TEXT_MAX, "%s: a row is damaged: %zu bytes of value, key 0x", system_family_names[family], value.n);

	for (size_t i = 0; i < n_shown; i++)
		n += snprintf(ret + n, DAMAGE_TEXT_MAX - (size_t)n, "%02x", (unsigned char)key.p[i]);
	if (n_shown < key.n)
		snprintf(ret + n, DAMAGE_TEXT_MAX - (size_t)n, "... of %zu bytes", key.n);
}

void damage_note(struct store *s, enum system_family family, struct mq_slice key, struct mq_slice value)
{
	char text[DAMAGE_TEXT_MAX];

	if (atomic_fetch_or(&s->damaged, 1u << family) & 1u << family)
		return;
	damage_text(text, family, key, value);
	if (s->cfg.on_damage)
		s->cfg.on_damage(s->cfg.user, text);
}
