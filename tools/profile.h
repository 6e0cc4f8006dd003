/* SPDX-License-Identifier: MIT
 *
 * profile.h - the sub-commands of mot-profile, a file each, and the options they share.
 * Each sub-command is a main of its own: argv[0] names it for messages.
 */
#ifndef MOT_TOOL_PROFILE_H
#define MOT_TOOL_PROFILE_H

#include <stdio.h>

#include "mot.h"
#include "tool.h"

int profile_flops(int argc, char **argv);
int profile_run(int argc, char **argv);
int profile_match(int argc, char **argv);
int profile_scale(int argc, char **argv);

/* ---- which model, and what it is given (mot-profile.c) ---- */

struct profile_model {
    const char *config, *tokenizer, *arch;
};

/* Own options of a sub-command count from PROFILE_LONG. */
enum { OPT_ARCH = OPT_LONG, OPT_BATCH, OPT_SEQ, OPT_DOCUMENT, OPT_MIX, OPT_RECOMPUTE, PROFILE_LONG };
#define PROFILE_OPTIONS_MODEL                                                                           \
    {"config", required_argument, NULL, 'c'}, {"tokenizer", required_argument, NULL, 't'},              \
    {"arch", required_argument, NULL, OPT_ARCH}
#define PROFILE_HELP_MODEL                                                                              \
    "  -c, --config CONFIG     preset (mot-train --presets), config.json or model folder\n"             \
    "  -t, --tokenizer TOK     take vocab_size and modalities from this folder\n"                       \
    "      --arch A            dense (one tower) or mot (a tower a modality); default: as CONFIG says\n"
#define PROFILE_OPTIONS_WORK                                                                            \
    {"batch", required_argument, NULL, OPT_BATCH}, {"seq", required_argument, NULL, OPT_SEQ},           \
    {"document", required_argument, NULL, OPT_DOCUMENT}, {"mix", required_argument, NULL, OPT_MIX},     \
    {"recompute", required_argument, NULL, OPT_RECOMPUTE}
#define PROFILE_HELP_WORK                                                                               \
    "      --batch N           sequences a step (8)\n"                                                  \
    "      --seq N             tokens a sequence (max_position_embeddings, at most 4096)\n"             \
    "      --document N        tokens a document; documents do not see each other (--seq)\n"            \
    "      --mix NAME=X,...    share of each modality in the tokens (equal)\n"                          \
    "      --recompute L       what training steps keep less of: none, light (norms) or block (none)\n"

/* Take in one of these options, of a sub-command that wants one value of each; false: c is another one. */
bool profile_option(int c, struct profile_model *m, struct mot_workload *w, const char **mix);
enum mot_recompute profile_recompute(const char *s);
/* The config may be given as an operand instead of by -c; none, or more operands, end the program. */
void profile_operand(int argc, char **argv, struct profile_model *m);
/* Load and settle; ends the program on failure.  True, with *v filled in, where there is a vocabulary: m's tokenizer. */
bool profile_config(const struct profile_model *m, struct mot_config *c, struct mot_vocab *v);
/* Shares from "text=.5,image=.5"; NULL: equal.  A modality that is not named gets none. */
void profile_mix(const char *s, const struct mot_config *c, struct mot_workload *w);

/* This machine's best rates; cache: remembered from an earlier measurement, or for later ones (profile_ceiling.c). */
struct mot_ceiling profile_ceiling(const char *device, const char *dtype, int threads, bool cache);

#endif
