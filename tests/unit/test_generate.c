/* SPDX-License-Identifier: MIT
 *
 * test_generate.c - which tokens may follow, how they are drawn, and that a sequence that grows token by token has the logits
 * of one that is read at once.
 */
#include <math.h>
#include <stdlib.h>

#include "../../lib/generate/generate.h"
#include "../test.h"

/* Text 0..49 with delimiters at its end, pictures 50..80, sounds 81..96. */
static struct mot_vocab vocab(void)
{
    struct mot_vocab v = {.n_modalities = 3, .size = 97, .digest = "0123456789abcdef", .bos = 0, .eos = 1,
                          .boi = 46, .eoi = 47, .bos_speech = 48, .eos_speech = 49};
    static const struct {
        const char *name;
        int32_t first, n;
    } part[3] = {{"text", 0, 50}, {"image", 50, 31}, {"speech", 81, 16}};
    for (int m = 0; m < 3; m++) {
        snprintf(v.modality[m].name, MOT_NAME_BYTES, "%s", part[m].name);
        v.modality[m].first = part[m].first;
        v.modality[m].n = part[m].n;
    }
    return v;
}

/* ---- the grammar ---- */

static bool in(const struct mot_ranges *r, int32_t id)
{
    for (int i = 0; i < r->n; i++)
        if (id >= r->range[i].from && id < r->range[i].to)
            return true;
    return false;
}

/* What may follow after these ids, as one letter an id: t text, e eos, ( ) picture, i its codes, [ ] sound, s its codes. */
static void check_next(const struct mot_grammar *g, const int32_t *id, int n, int64_t left, const char *expected)
{
    struct mot_place p = {0};
    for (int i = 0; i < n; i++)
        CHECK_INT(mot_grammar_step(g, &p, id[i]), MOT_OK);
    struct mot_ranges r = mot_grammar_next(g, &p, left);
    char found[16] = "";
    const struct {
        int32_t id;
        char letter;
    } kinds[] = {{5, 't'}, {1, 'e'}, {46, '('}, {47, ')'}, {60, 'i'}, {48, '['}, {49, ']'}, {90, 's'}, {0, 'b'}};
    for (int i = 0; i < MOT_COUNT(kinds); i++)
        if (in(&r, kinds[i].id))
            found[strlen(found)] = kinds[i].letter;
    if (strcmp(found, expected) != 0)
        fprintf(stderr, "after %d ids, %lld left: found %s, expected %s\n", n, (long long)left, found, expected);
    CHECK(strcmp(found, expected) == 0);
}

static void test_grammar(void)
{
    struct mot_vocab v = vocab();
    struct mot_grammar g = mot_grammar_of(&v, 3);
    check_next(&g, (int32_t[]){0}, 1, 100, "te([");
    check_next(&g, (int32_t[]){0, 7}, 2, 5, "te(["); /* just room for a picture with its delimiters */
    check_next(&g, (int32_t[]){0, 7}, 2, 4, "te[");
    check_next(&g, (int32_t[]){0, 7}, 2, 2, "te");
    check_next(&g, (int32_t[]){0, 46}, 2, 100, "i");
    check_next(&g, (int32_t[]){0, 46, 50, 51}, 4, 100, "i");
    check_next(&g, (int32_t[]){0, 46, 50, 51, 80}, 5, 100, ")");
    check_next(&g, (int32_t[]){0, 46, 50, 51, 80, 47}, 6, 100, "te([");
    check_next(&g, (int32_t[]){0, 48}, 2, 100, "s"); /* not a sound of nothing */
    check_next(&g, (int32_t[]){0, 48, 81}, 3, 100, "]s");
    check_next(&g, (int32_t[]){0, 48, 81}, 3, 1, "]");
    check_next(&g, (int32_t[]){0, 48, 81, 49}, 4, 100, "te([");
    struct mot_place p = {0};
    CHECK_INT(mot_grammar_step(&g, &p, 46), MOT_OK);
    CHECK_INT(mot_grammar_step(&g, &p, 7), MOT_EFORMAT);
    CHECK_INT(mot_grammar_step(&g, &p, 50), MOT_OK);
    CHECK_INT(mot_grammar_step(&g, &p, 47), MOT_EFORMAT); /* a picture of one code */
    for (int i = 0; i < 4; i++) { /* without their beginnings */
        p = (struct mot_place){0};
        CHECK_INT(mot_grammar_step(&g, &p, (int32_t[]){50, 81, 47, 49}[i]), MOT_EFORMAT);
    }
    g = mot_grammar_of(&v, 0); /* nobody knows how many tokens a picture has */
    check_next(&g, (int32_t[]){0}, 1, 100, "te[");
    v.eoi = -1, v.eos_speech = -1;
    g = mot_grammar_of(&v, 3); /* without their ends nothing can begin; the ids of the ends are text then */
    check_next(&g, (int32_t[]){0}, 1, 100, "te)]b"); /* and so is bos, as in any vocabulary of text alone */
    v = vocab();
    g = mot_grammar_of(&v, 3);
    const struct mot_place text = {0}, picture = {.modality = 1, .length = 1}, silence = {.modality = 2};
    CHECK_INT(mot_grammar_rest(&g, &text), 0);
    CHECK_INT(mot_grammar_rest(&g, &picture), 3);
    CHECK_INT(mot_grammar_rest(&g, &silence), 2);
    g.stop[g.n_stops++] = 5; /* a document may end with it, but not where a text begins */
    p = text;
    CHECK_INT(mot_grammar_step(&g, &p, 5), MOT_OK);
    CHECK(p.ended);
    struct mot_ranges begin = mot_grammar_inside(&g, &text, 100), next = mot_grammar_next(&g, &text, 100);
    CHECK(!in(&begin, 5) && in(&begin, 4) && in(&begin, 6) && in(&next, 5));
    g.code_from = 10, g.code_to = 20; /* ids among the text's that are none */
    next = mot_grammar_next(&g, &text, 100);
    CHECK(in(&next, 9) && !in(&next, 10) && !in(&next, 19) && in(&next, 20) && !in(&next, 47) && in(&next, 46));
    g.code_from = 40, g.code_to = 50; /* up to the end */
    next = mot_grammar_next(&g, &text, 100);
    CHECK(in(&next, 39) && !in(&next, 46) && !in(&next, 49));
}

/* ---- drawing ---- */

enum { WORDS = 1000 };

/* How often id is drawn when u takes 10,000 evenly spaced values. */
static double share_of(const mot_real *z, struct mot_ranges *r, struct mot_sampling how, int32_t id)
{
    struct mot_sampler s;
    int n = 0;
    CHECK_INT(mot_sampler_new(&s, WORDS), MOT_OK);
    for (int i = 0; i < 10000; i++)
        n += mot_sample(&s, z, r, &how, (i + 0.5) / 10000) == id;
    mot_sampler_free(&s);
    return n / 10000.0;
}

static void test_sampling(void)
{
    mot_real z[WORDS];
    for (int i = 0; i < WORDS; i++)
        z[i] = -100;
    z[10] = (mot_real)log(0.5), z[20] = (mot_real)log(0.25), z[30] = (mot_real)log(0.15), z[40] = (mot_real)log(0.1);
    struct mot_ranges all = {1, {{0, WORDS}}}, some = {2, {{15, 25}, {35, 45}}};
    struct mot_sampling how = {1, 0, 1, 0};
    CHECK_NEAR(share_of(z, &all, how, 10), 0.5, 0, 1e-3);
    CHECK_NEAR(share_of(z, &all, how, 40), 0.1, 0, 1e-3);
    CHECK_NEAR(share_of(z, &some, how, 20), 0.25 / 0.35, 0, 1e-3);
    CHECK_NEAR(share_of(z, &some, how, 10), 0, 0, 0);
    how.temperature = 0.5;
    CHECK_NEAR(share_of(z, &all, how, 10), 0.25 / (0.25 + 0.0625 + 0.0225 + 0.01), 0, 1e-3);
    how = (struct mot_sampling){1, 2, 1, 0};
    CHECK_NEAR(share_of(z, &all, how, 10), 2.0 / 3, 0, 1e-3);
    CHECK_NEAR(share_of(z, &all, how, 30), 0, 0, 0);
    how = (struct mot_sampling){1, 0, 0.7, 0}; /* 0.5 is not enough, 0.75 is */
    CHECK_NEAR(share_of(z, &all, how, 20), 1.0 / 3, 0, 1e-3);
    how = (struct mot_sampling){1, 0, 1, 0.25}; /* of 0.5: 0.15 stays, 0.1 goes */
    CHECK_NEAR(share_of(z, &all, how, 30), 0.15 / 0.9, 0, 1e-3);
    CHECK_NEAR(share_of(z, &all, how, 40), 0, 0, 0);
    how = (struct mot_sampling){0, 0, 1, 0};
    z[5] = z[10];
    CHECK_NEAR(share_of(z, &all, how, 5), 1, 0, 0); /* of two that are equal the lower id */
}

/* Many equal ones: those that are kept are the first by id, however they lie. */
static void test_ties(void)
{
    mot_real z[WORDS];
    for (int i = 0; i < WORDS; i++)
        z[i] = i >= 400 && i < 900 ? 1 : 0;
    struct mot_ranges all = {1, {{0, WORDS}}};
    struct mot_sampling how = {1, 100, 1, 0};
    CHECK_NEAR(share_of(z, &all, how, 400), 0.01, 0, 1e-3);
    CHECK_NEAR(share_of(z, &all, how, 499), 0.01, 0, 1e-3);
    CHECK_NEAR(share_of(z, &all, how, 500), 0, 0, 0);
}

/* ---- growing ---- */

enum { CONTEXT = 400, V = 97 };

static struct mot_model *model(const struct mot_kernels *k, bool post)
{
    struct mot_vocab v = vocab();
    struct mot_config c;
    CHECK_INT(mot_config_load(&c, "micro"), MOT_OK);
    c.num_attention_heads = 4;
    c.num_key_value_heads = 2;
    c.head_dim = 12;
    c.qk_norm = MOT_QK_RMS;
    c.norm_post = post;
    c.initializer_range = 0.2;
    c.max_position_embeddings = CONTEXT;
    CHECK_INT(mot_config_settle(&c, "micro", &v, NULL), MOT_OK);
    struct mot_model *m = mot_model_new_growing(&c, &v, k, 2, CONTEXT, CONTEXT, 32);
    CHECK(m);
    CHECK_INT(mot_model_init(m, 1), MOT_OK);
    return m;
}

static int32_t id_of(int sequence, int64_t i)
{
    return (int32_t)mot_random_below(7, (uint64_t)sequence, (uint64_t)i, V);
}

/* Ids [from, to) of a sequence, behind p; logits after the last. */
static void feed(struct mot_model *m, struct mot_past *p, int sequence, int64_t from, int64_t to, mot_real *z)
{
    int32_t id[CONTEXT + 1];
    struct mot_batch b = {0};
    for (int64_t i = from; i <= to; i++)
        id[i - from] = id_of(sequence, i);
    int64_t last = to - from - 1;
    CHECK_INT(mot_batch_add(&b, id, to - from), MOT_OK);
    CHECK_INT(mot_model_grow(m, &b, p, NULL), MOT_OK);
    CHECK_INT(mot_model_logits(m, &last, 1, z), MOT_OK);
    mot_batch_free(&b);
}

static void check_growing(const struct mot_kernels *k, bool post, int64_t along, int64_t first, int64_t step,
                          double tolerance)
{
    struct mot_model *m = model(k, post);
    mot_real at_once[V], grown[V];
    struct mot_past p;
    CHECK_INT(mot_past_new(m, CONTEXT, &p), MOT_OK);
    feed(m, &p, 0, 0, along, at_once);
    p.length = 0;
    for (int64_t i = 0, n; i < along; i += n) {
        n = i == 0 ? first : step < along - i ? step : along - i;
        feed(m, &p, 0, i, i + n, grown);
    }
    for (int i = 0; i < V; i++)
        CHECK_NEAR((double)grown[i], (double)at_once[i], tolerance, 2e-4);
    m->k->free(m->d, p.kv);
    mot_model_free(m);
}

static void test_growing(void)
{
    const struct mot_kernels *cpu = mot_kernels_cpu(NULL, NULL, NULL, 0);
    check_growing(cpu, false, 300, 1, 1, 0);
    check_growing(cpu, true, 300, 290, 1, 0);
    check_growing(cpu, false, 300, 40, 32, 0);
    check_growing(cpu, true, 300, 5, 7, 0);
    check_growing(&mot_kernels_ref, false, 300, 280, 3, 0);
}

static void test_growing_cuda(void)
{
    char err[200];
    const struct mot_kernels *f32 = mot_kernels_cuda("f32", err, sizeof err), *bf16 = mot_kernels_cuda("bf16", err, sizeof err);
    if (!f32 || !bf16)
        return;
    check_growing(f32, false, 30, 25, 3, 0);
    check_growing(f32, true, 40, 9, 17, 0);
    check_growing(bf16, false, 30, 25, 1, 0.2); /* logits of some tens */
}

/* Many sequences of different lengths, a token of each at once: to the last bit as each alone. */
static void company(const struct mot_kernels *k, int many, int longer)
{
    enum { MANY = 20 };
    struct mot_model *m = model(k, false);
    static mot_real alone[MANY][V], together[MANY * V];
    struct mot_past p[MANY];
    struct mot_batch b = {0};
    int64_t position[MANY];
    for (int s = 0; s < many; s++) {
        CHECK_INT(mot_past_new(m, CONTEXT, &p[s]), MOT_OK);
        feed(m, &p[s], s, 0, 1 + longer * s, alone[s]);
        int64_t length = p[s].length;
        feed(m, &p[s], s, length, length + 1, alone[s]);
        p[s].length = length;
        position[s] = s;
        CHECK_INT(mot_batch_add(&b, (int32_t[]){id_of(s, length), 0}, 1), MOT_OK);
    }
    CHECK_INT(mot_model_grow(m, &b, p, NULL), MOT_OK);
    CHECK_INT(mot_model_logits(m, position, many, together), MOT_OK);
    for (int s = 0; s < many; s++) {
        CHECK(memcmp(alone[s], together + s * V, sizeof alone[s]) == 0);
        m->k->free(m->d, p[s].kv);
    }
    mot_batch_free(&b);
    mot_model_free(m);
}

static void test_company(void)
{
    char err[200];
    company(mot_kernels_cpu(NULL, NULL, NULL, 0), 20, 13);
    for (int narrow = 0; narrow < 2; narrow++) {
        const struct mot_kernels *k = mot_kernels_cuda(narrow ? "bf16" : "f32", err, sizeof err);
        if (k)
            company(k, 5, 3);
    }
}

/* More than there is room for. */
static void test_room(void)
{
    struct mot_model *m = model(mot_kernels_cpu(NULL, NULL, NULL, 0), false);
    struct mot_past p;
    struct mot_batch b = {0};
    mot_real z[V];
    CHECK_INT(mot_past_new(m, 10, &p), MOT_OK);
    feed(m, &p, 0, 0, 8, z);
    CHECK_INT(mot_batch_add(&b, (int32_t[]){1, 2, 3, 4}, 3), MOT_OK);
    CHECK_INT(mot_model_grow(m, &b, &p, NULL), MOT_EARG);
    CHECK_INT(p.length, 8);
    mot_batch_free(&b);
    m->k->free(m->d, p.kv);
    mot_model_free(m);
}

int main(void)
{
    RUN(test_grammar);
    RUN(test_sampling);
    RUN(test_ties);
    RUN(test_growing);
    RUN(test_growing_cuda);
    RUN(test_company);
    RUN(test_room);
    return test_end();
}
