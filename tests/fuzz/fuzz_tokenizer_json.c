/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer_json.c - any bytes as a tokenizer.json: what loads must encode and decode hard
 * texts, within its ids.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "lib/token/token.h"

static void use(const struct mot_text *t)
{
    static const char texts[] =
        "don't stop 12345 \xe2\x96\x81\xe2\x96\x81 <s>\xff\xfe\xe5\xbf <|bos|>\r\n\r\n  e\xcc\x81\xcc\xa3"
        "\xe5\xbf\xab\xe9\x80\x9f \xf0\x9f\x99\x82 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct mot_text_state s;
    struct mot_ids ids = {0};
    struct mot_bytes text = {0};
    if (mot_text_state_init(&s) == 0 && mot_text_encode(t, &s, texts, sizeof texts, &ids) == 0) {
        for (int64_t i = 0; i < ids.n; i++)
            if (ids.id[i] < 0 || ids.id[i] >= t->n_ids)
                abort();
        (void)!mot_text_decode(t, &s, ids.id, ids.n, false, &text);
        (void)!mot_text_decode(t, &s, ids.id, ids.n, true, &text);
    }
    mot_ids_free(&ids);
    mot_bytes_free(&text);
    mot_text_state_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *j = mot_json_parse("fuzz", data, n);
    struct mot_text *t = j ? mot_text_load("fuzz", j) : NULL;
    if (t)
        use(t);
    mot_text_free(t);
    json_decref(j);
    return 0;
}
