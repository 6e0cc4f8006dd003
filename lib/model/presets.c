/* SPDX-License-Identifier: MIT
 *
 * presets.c - named configurations: the MoT paper's tables 1 and 3 (arXiv 2411.04996), and nets for a laptop.
 *
 * The paper's sizes come out exactly with untied input and output embeddings of 65,536 rows, SwiGLU with
 * FFN width 8/3 d rounded up to a multiple of 256, no biases and no grouped queries.  Norms are placed
 * as Algorithm 1 places them ("post").  The Transfusion setting's follow Llama ("pre") and have 32,000 words; their pictures
 * are vectors of 2 x 2 latent pixels of 8 channels, and their U-Nets have the paper's 0.27 G parameters at every size.
 * nano and micro are pre-norm too, which trains better within minutes.
 */
#include "model.h"

static const struct preset {
    const char *name;
    int width, ffn, layers, heads;
    enum { TWO, THREE, VECTORS } what; /* text and image, speech too, or pictures of vectors */
    bool post;
    double init;
    int unet; /* channels of its blocks, 0: none */
} presets[] = {
    {"nano", 32, 96, 2, 2, THREE, false, 0.1, 0},
    {"micro", 48, 128, 3, 3, THREE, false, 0.08, 0},
    {"mini", 128, 384, 4, 4, THREE, false, 0.0625, 0},
    {"chameleon-37m", 256, 768, 4, 8, TWO, true, 0.02, 0},
    {"chameleon-94m", 512, 1536, 8, 8, TWO, true, 0.02, 0},
    {"chameleon-443m", 1024, 2816, 24, 16, TWO, true, 0.02, 0},
    {"chameleon-880m", 1536, 4096, 24, 24, TWO, true, 0.02, 0},
    {"chameleon-1.5b", 2048, 5632, 24, 16, TWO, true, 0.02, 0},
    {"chameleon-7b", 4096, 11008, 32, 32, TWO, true, 0.02, 0},
    {"chameleon-speech-37m", 256, 768, 4, 8, THREE, true, 0.02, 0},
    {"chameleon-speech-94m", 512, 1536, 8, 8, THREE, true, 0.02, 0},
    {"chameleon-speech-443m", 1024, 2816, 24, 16, THREE, true, 0.02, 0},
    {"chameleon-speech-880m", 1536, 4096, 24, 24, THREE, true, 0.02, 0},
    {"chameleon-speech-1.5b", 2048, 5632, 24, 16, THREE, true, 0.02, 0},
    {"chameleon-speech-7b", 4096, 11008, 32, 32, THREE, true, 0.02, 0},
    {"transfusion-mini", 128, 384, 4, 4, VECTORS, false, 0.0625, 0},
    {"transfusion-160m", 768, 2048, 16, 12, VECTORS, false, 0.02, 1856},
    {"transfusion-760m", 1536, 4096, 24, 24, VECTORS, false, 0.02, 1792},
    {"transfusion-1.4b", 2048, 5632, 24, 16, VECTORS, false, 0.02, 1760},
    {"transfusion-7b", 4096, 11008, 32, 32, VECTORS, false, 0.02, 1600},
};

const char *const *mot_preset_names(void)
{
    static const char *names[MOT_COUNT(presets) + 1];
    for (int i = 0; i < MOT_COUNT(presets); i++)
        names[i] = presets[i].name;
    return names;
}

bool mot_preset_find(const char *name, struct mot_config *c, const char *const **modalities, int *n)
{
    static const char *const all[] = {"text", "image", "speech"};
    for (int i = 0; i < MOT_COUNT(presets); i++) {
        const struct preset *p = &presets[i];
        if (strcmp(p->name, name) != 0)
            continue;
        c->hidden_size = p->width;
        c->intermediate_size = p->ffn;
        c->num_hidden_layers = p->layers;
        c->num_attention_heads = c->num_key_value_heads = p->heads;
        c->head_dim = p->width / p->heads;
        c->max_position_embeddings = 4096;
        c->rms_norm_eps = 1e-5;
        c->initializer_range = p->init;
        c->norm_post = p->post;
        *modalities = all;
        *n = p->what == THREE ? 3 : 2;
        c->unet.channels = p->unet;
        if (p->what == VECTORS)
            c->latent_size[1] = 2 * 2 * 8;
        return true;
    }
    return false;
}
