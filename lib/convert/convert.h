/* SPDX-License-Identifier: MIT
 *
 * convert.h - what the files of lib/convert share.
 *
 * A conversion has two sides, each a folder in some family's form with a config, a vocabulary and THE tensor table of that
 * config.  plan.c finds for every tensor of the target where its values come from; write.c streams them.  Names are the
 * family's business alone, in both directions from the same row.
 */
#ifndef MOT_CONVERT_H
#define MOT_CONVERT_H

#include "../model/model.h"
#include "../token/token.h"

/* ---- family.c: how others name what table.c has ---- */

enum mot_label { /* what stands for a tower in a name */
    MOT_LABEL_SUFFIX,  /* "" for tower 0, else "_" and its name */
    MOT_LABEL_MOE_GEN, /* "" and "_moe_gen" */
    MOT_LABEL_NAME,
    MOT_LABEL_INDEX
};
struct mot_name_row {
    enum mot_weight ours;
    const char *theirs; /* # the layer, % the tower; no %: tower 0 alone has it */
    bool pairs;         /* rows of q and k lie for RoPE on neighbours (2j, 2j + 1); ours on halves (j, j + D/2) */
};
struct mot_family {
    const char *name, *config, *weights; /* and its files' names */
    enum mot_label label;
    const char *prefix;             /* before Hugging Face's names, where there are no rows */
    const struct mot_name_row *row; /* NULL: table.c's patterns are the rows */
    int n_rows;
    const char *spare_norm;         /* a final norm that must be there and is not used, or NULL */
    const char *(*refuses)(const struct mot_config *c); /* why it has no place for such a model; NULL: it has */
};
const struct mot_family *mot_family_find(const char *name);
/* The family whose embedding is among the tensors. */
int mot_family_detect(const struct mot_family **f, const struct mot_weights *w, const char *folder) MOT_CHECKED;
/* The row of a tensor; {.theirs = NULL}: the family has none. */
struct mot_name_row mot_family_row(const struct mot_family *f, const struct mot_tensor *t);
/* A tensor's name in a family's file, a new string. */
char *mot_family_name(const struct mot_family *f, const struct mot_config *c, const struct mot_tensor *t) MOT_CHECKED;

/* ---- sentences (side.c): zero-terminated, one behind the other ---- */
struct mot_sentences {
    struct mot_bytes text;
    size_t at; /* of the next one to hand out */
    int64_t n;
};
int mot_say(struct mot_sentences *s, const char *format, ...) MOT_PRINTF(2, 3);
const char *mot_next_sentence(struct mot_sentences *s);

/* ---- side.c: one folder ---- */
struct mot_side {
    const char *folder;
    const struct mot_family *family;
    json_t *json; /* the source's config.json */
    struct mot_config config;
    struct mot_vocab vocab;
    struct mot_table table;
};
/* Config, vocabulary and table of a folder whose weights are open. form and config as in mot_convert_options. */
int mot_side_open(struct mot_side *s, const char *folder, const struct mot_weights *w, const char *form,
                  const char *config) MOT_CHECKED;
void mot_side_close(struct mot_side *s);
int mot_config_modality(const struct mot_config *c, const char *name); /* -1: none */
bool mot_matches(const char *const *glob, int n, const char *name); /* one of n shell patterns */

/* ---- keys.c: config keys ---- */
/* Complain of every key that is neither computed with nor harmless. */
int mot_check_keys(const json_t *config, const struct mot_convert_options *o, const char *name,
                   struct mot_sentences *complaints) MOT_CHECKED;
/* The target's config.json: its own keys, then the harmless ones of the source. */
json_t *mot_target_config(const struct mot_side *to, const json_t *source, enum mot_dtype dtype) MOT_CHECKED;

/* ---- plan.c ---- */
struct mot_run { /* rows of embedding and head */
    int64_t from, n; /* rows [from, from + n) of the source's; from = -1: new ones */
};
struct mot_job { /* a tensor of the target */
    struct mot_st_decl decl; /* owns the name */
    const struct mot_tensor *tensor; /* of the target's table; NULL: it is no part of the model and travels along */
    int64_t bytes;
    const struct mot_st *file;
    const struct mot_st_tensor *from; /* NULL: made */
    bool random;         /* made: initial values; else zeros */
    bool rows;           /* by runs of rows */
    bool unpair, pair;   /* reorder rows of each head from neighbours to halves; back */
};
struct mot_converter {
    struct mot_convert_options o;
    struct mot_weights weights;
    struct mot_side from, to;
    struct mot_sentences complaints, notices;
    int source[MOT_MAX_MODALITIES]; /* modality of the source whose tower serves a modality of the target */
    bool random[MOT_MAX_MODALITIES];
    bool fresh[MOT_MAX_MODALITIES]; /* the source has no tower for it */
    struct mot_run run[2 * MOT_MAX_MODALITIES];
    int n_runs;
    struct {
        const char *text;
        int32_t id;
    } delimiter[4]; /* to add to tokenizer.json */
    int n_delimiters;
    int32_t dropped_from; /* text ids from here on are left out, and their tokens */
    int64_t n_jobs, capacity, bytes, done;
    struct mot_job *job;
    int64_t n_extra; /* the last of the jobs: those without a tensor of the table */
    struct mot_st extra; /* the source's extra.safetensors, if it has one */
    mot_convert_progress *progress;
    void *context;
};
int mot_target_make(struct mot_converter *c) MOT_CHECKED; /* target.c: config, vocabulary and table of the target */
int mot_plan_jobs(struct mot_converter *c) MOT_CHECKED;

/* ---- load.c, write.c, tokenizer_files.c ---- */
/* The target's weights into a model of its config. */
int mot_converter_load(const struct mot_converter *c, struct mot_model *m) MOT_CHECKED;
/* Row r of the target is which row of the source, where RoPE's pairs lie otherwise; D is head_dim. */
int64_t mot_turned_row(const struct mot_job *j, int64_t r, int64_t D);
int mot_write_weights(struct mot_converter *c, const char *folder) MOT_CHECKED;
int mot_write_tokenizer(struct mot_converter *c, const char *folder) MOT_CHECKED;
/* tokenizer.json of a folder, NULL where there is none. */
int mot_tokenizer_json(const char *folder, json_t **j) MOT_CHECKED;

#endif
