/* SPDX-License-Identifier: MIT
 *
 * tokenizer_write.c - a learned vocabulary as Hugging Face's tokenizer.json: split by the pattern,
 * byte-level, BPE.  There is no post-processor: what stands around a document is the business of
 * who writes documents.
 */
#include "token.h"

/* Takes every new reference; a NULL among them makes the result NULL (jansson's rule), which means
 * no memory. */
static json_t *added_token(int32_t id, const unsigned char *text, size_t n)
{
    return json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                     (const char *)text, n, "single_word", 0, "lstrip", 0, "rstrip", 0,
                     "normalized", 0, "special", 1);
}

static int put_letters(const struct mot_bpe_merges *m, int32_t id, struct mot_bytes *out)
{
    const unsigned char *p = m->blob.data + m->string[id].begin;
    if (id < m->n_special)
        return mot_bytes_append(out, p, m->string[id].n);
    int rc = MOT_OK;
    for (uint32_t i = 0; !rc && i < m->string[id].n; i++) {
        unsigned char utf8[4];
        rc = mot_bytes_append(out, utf8, (size_t)mot_utf8_put(utf8, mot_byte_letter(p[i])));
    }
    return rc;
}

static json_t *vocabulary(const struct mot_bpe_merges *m)
{
    json_t *o = json_object();
    struct mot_bytes s = {0};
    bool good = o != NULL;
    for (int32_t id = 0; good && id < m->n; id++) {
        s.n = 0;
        good = !put_letters(m, id, &s) && !mot_bytes_append(&s, "", 1) &&
               !json_object_set_new(o, (const char *)s.data, json_integer(id));
    }
    mot_bytes_free(&s);
    if (good)
        return o;
    json_decref(o);
    return NULL;
}

/* "left right", in order of rank: no letter is a space. */
static json_t *merges(const struct mot_bpe_merges *m)
{
    json_t *a = json_array();
    struct mot_bytes s = {0};
    bool good = a != NULL;
    for (int64_t i = 0; good && i < m->n_merges; i++) {
        if (m->merge[i].left < 0)
            continue;
        s.n = 0;
        good = !put_letters(m, m->merge[i].left, &s) && !mot_bytes_append(&s, " ", 1) &&
               !put_letters(m, m->merge[i].right, &s) &&
               !json_array_append_new(a, json_stringn((const char *)s.data, s.n));
    }
    mot_bytes_free(&s);
    if (good)
        return a;
    json_decref(a);
    return NULL;
}

static json_t *byte_level(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 0, "use_regex", 0);
}

static json_t *splitter(void)
{
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                              mot_split_pattern, "behavior", "Isolated", "invert", 0);
    return json_pack("{s:s, s:[o, o]}", "type", "Sequence", "pretokenizers", split, byte_level());
}

int mot_bpe_merges_save(const struct mot_bpe_merges *m, const char *path)
{
    json_t *added = json_array();
    for (int32_t i = 0; i < m->n_special; i++)
        json_array_append_new(added,
                              added_token(i, m->blob.data + m->string[i].begin, m->string[i].n));
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", 0, "vocab", vocabulary(m), "merges", merges(m));
    json_t *j =
        json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation",
                  "padding", "added_tokens", added, "normalizer", "pre_tokenizer", splitter(),
                  "post_processor", "decoder", byte_level(), "model", model);
    int rc = j && json_array_size(added) == (size_t)m->n_special
                 ? mot_json_save(path, j)
                 : mot_fail(MOT_ENOMEM, "%s: out of memory", path);
    json_decref(j);
    return rc;
}
