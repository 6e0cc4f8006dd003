/* SPDX-License-Identifier: MIT
 *
 * vae_names.c - the two ways in which the tensors of an AutoencoderKL are named: as taming-transformers and latent diffusion
 * had them, which autonet_read.c asks for, and as diffusers has them.
 *
 *   encoder.down.1.block.0.nin_shortcut    encoder.down_blocks.1.resnets.0.conv_shortcut
 *   encoder.down.1.downsample.conv         encoder.down_blocks.1.downsamplers.0.conv
 *   decoder.up.0.block.2.conv1             decoder.up_blocks.3.resnets.2.conv1, of 4: counted from the other end
 *   decoder.up.1.upsample.conv             decoder.up_blocks.2.upsamplers.0.conv
 *   encoder.mid.block_1.norm1              encoder.mid_block.resnets.0.norm1
 *   encoder.mid.attn_1.q                   encoder.mid_block.attentions.0.to_q, earlier .query
 *   encoder.norm_out                       encoder.conv_norm_out
 */
#include "autonet.h"
#include "vae.h"

enum { OLD_ATTENTION = 32 }; /* in mot_net's `naming`, beside the number of the decoder's levels */

/* "q.weight" to "to_q.weight", by the whole word before the point. */
static const char *word_of(const char *const (*table)[2], int n, const char *rest, const char **behind)
{
    for (int i = 0; i < n; i++) {
        size_t k = strlen(table[i][0]);
        if (strncmp(rest, table[i][0], k) == 0 && rest[k] == '.') {
            *behind = rest + k;
            return table[i][1];
        }
    }
    *behind = rest;
    return "";
}

static const char *attention_word(const struct mot_net *n, const char *rest, const char **behind)
{
    static const char *const now[][2] = {{"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};
    static const char *const old[][2] = {{"norm", "group_norm"}, {"q", "query"}, {"k", "key"}, {"v", "value"}, {"proj_out", "proj_attn"}};
    return word_of(n->naming & OLD_ATTENTION ? old : now, 5, rest, behind);
}

/* "block.0.nin_shortcut.weight" and the like, in level `level` of a half. */
static void rename_level(const struct mot_net *n, bool up, int level, const char *rest, char *to, size_t room)
{
    static const char *const shortcut[][2] = {{"nin_shortcut", "conv_shortcut"}};
    const char *way = up ? "up" : "down", *behind, *word;
    int number, used = 0;
    level = up ? (n->naming & (OLD_ATTENTION - 1)) - 1 - level : level;
    if (sscanf(rest, "block.%d.%n", &number, &used) == 1 && used) {
        word = word_of(shortcut, 1, rest + used, &behind);
        snprintf(to, room, "%s_blocks.%d.resnets.%d.%s%s", way, level, number, word, behind);
    } else if (sscanf(rest, "attn.%d.%n", &number, &used) == 1 && used) {
        word = attention_word(n, rest + used, &behind);
        snprintf(to, room, "%s_blocks.%d.attentions.%d.%s%s", way, level, number, word, behind);
    } else { /* downsample.conv, upsample.conv */
        const char *point = strchr(rest, '.');
        snprintf(to, room, "%s_blocks.%d.%ssamplers.0%s", way, level, way, point ? point : "");
    }
}

static void rename_middle(const struct mot_net *n, const char *rest, char *to, size_t room)
{
    const char *behind;
    if (strncmp(rest, "attn_1.", 7) == 0) {
        const char *word = attention_word(n, rest + 7, &behind);
        snprintf(to, room, "mid_block.attentions.0.%s%s", word, behind);
    } else { /* block_1, block_2 */
        snprintf(to, room, "mid_block.resnets.%d%s", rest[6] - '1', rest + 7);
    }
}

static void to_diffusers(const struct mot_net *n, char *name, size_t room)
{
    char text[256] = "";
    const size_t half = 8; /* "encoder.", "decoder." */
    const char *rest = name + half;
    int level, used = 0;
    if (strncmp(name, "encoder.", half) != 0 && strncmp(name, "decoder.", half) != 0)
        return;
    if (sscanf(rest, "down.%d.%n", &level, &used) == 1 && used)
        rename_level(n, false, level, rest + used, text, sizeof text);
    else if (sscanf(rest, "up.%d.%n", &level, &used) == 1 && used)
        rename_level(n, true, level, rest + used, text, sizeof text);
    else if (strncmp(rest, "mid.", 4) == 0)
        rename_middle(n, rest + 4, text, sizeof text);
    else if (strncmp(rest, "norm_out.", 9) == 0)
        snprintf(text, sizeof text, "conv_norm_out.%s", rest + 9);
    else
        return;
    snprintf(name + half, room - half, "%s", text);
}

void mot_vae_naming(struct mot_net *n)
{
    if (!mot_net_find(n, "encoder.down_blocks.0.resnets.0.conv1.weight"))
        return;
    int levels = 0;
    while (levels < MOT_AUTONET_LEVELS && mot_net_find(n, "decoder.up_blocks.%d.resnets.0.conv1.weight", levels))
        levels++;
    n->naming = levels | (mot_net_find(n, "encoder.mid_block.attentions.0.query.weight") ? OLD_ATTENTION : 0);
    n->rename = to_diffusers;
}
