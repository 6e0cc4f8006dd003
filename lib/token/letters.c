/* SPDX-License-Identifier: MIT
 *
 * letters.c - GPT-2's table: the letters by which byte-level vocabularies spell bytes.
 */
#include "token.h"

/* Printable Latin-1 stands for itself; the other 68 bytes take U+0100 and on, in order. */
static bool printable(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) ||
           (byte >= 0xae && byte <= 0xff);
}

int32_t mot_byte_letter(int byte)
{
    if (printable(byte))
        return byte;
    /* The others stand in three runs: 0 to 32, 127 to 160, 173. */
    return byte <= 32 ? 0x100 + byte : byte <= 160 ? 0x100 + 33 + byte - 127 : 0x100 + 67;
}

int mot_letter_byte(int32_t c)
{
    if (c < 0x100)
        return printable(c) ? c : -1;
    int k = c - 0x100;
    return k <= 32 ? k : k <= 66 ? k - 33 + 127 : k == 67 ? 173 : -1;
}

int mot_letters_of_bytes(const unsigned char *p, size_t n, struct mot_bytes *out)
{
    int rc = mot_bytes_reserve(out, 2 * n);
    for (size_t i = 0; !rc && i < n; i++)
        out->n += (size_t)mot_utf8_put(out->data + out->n, mot_byte_letter(p[i]));
    return rc;
}

int mot_bytes_of_letters(const unsigned char *s, size_t n, struct mot_bytes *out, bool *all)
{
    size_t start = out->n;
    int rc = mot_bytes_reserve(out, n);
    *all = true;
    for (size_t i = 0; !rc && i < n;) {
        int size;
        int byte = mot_letter_byte(mot_utf8_get(s + i, &size));
        if (byte < 0) {
            *all = false;
            out->n = start;
            return mot_bytes_append(out, s, n);
        }
        out->data[out->n++] = (unsigned char)byte;
        i += (size_t)size;
    }
    return rc;
}
