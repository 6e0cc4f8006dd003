/* SPDX-License-Identifier: MIT
 *
 * vae.c - pictures by a variational autoencoder: its encoder gives mean and variance of a latent picture, of which the mean is
 * taken, shifted and scaled; squares of latent pixels are a token's vector.  The decoder makes a picture of it again.
 *
 * Pixels are x / 127.5 - 1, and back to the nearest, cut to [-1, 1].
 *
 * File: the net's tensors under the names they had; metadata "format" = "mot-vae", "version", "image_size", "patch_size",
 * "scaling_factor", "shift_factor".
 */
#include <math.h>
#include <stdlib.h>

#include "autonet.h"
#include "patches.h"
#include "vae.h"

enum { VERSION = 1, DEFAULT_SIDE = 256, DEFAULT_PATCH = 2, CONFIG_LIMIT = 1 << 24 };
static const double LARGEST = 1e6; /* of scale and shift */

struct mot_vae {
    struct mot_autonet net;
    int patch, channels;
    float scale, shift;
};

/* ---- reading the net ---- */

static void check_sizes(const struct mot_vae *v, struct mot_net *n, int64_t moments)
{
    if (moments < 2 || moments % 2 != 0)
        mot_net_complain(n, "the encoder gives %lld channels: expected as many means as variances", (long long)moments);
    if (v->patch < 1 || v->net.latent % v->patch != 0)
        mot_net_complain(n, "latent pictures of %d x %d cannot be cut into patches of %d", v->net.latent, v->net.latent, v->patch);
    else if (v->channels > MOT_MAX_WIDTH / v->patch / v->patch)
        mot_net_complain(n, "a patch of %d x %d latent pixels has more than %d values", v->patch, v->patch, MOT_MAX_WIDTH);
}

static void read_decoder(struct mot_vae *v, struct mot_net *n)
{
    struct mot_autonet_builder b = {n, &v->net.decoder, v->net.latent, v->channels};
    if (mot_net_find(n, "post_quant_conv.weight"))
        mot_autonet_add_conv(&b, "post_quant_conv", mot_net_size(n, 1, "decoder.conv_in.weight"), 1);
    mot_autonet_read_decoder(&v->net, n, &b);
}

/* Everything, for pictures of `side` pixels and v->patch.  What is wrong becomes the net's complaints. */
static void read_net(struct mot_vae *v, struct mot_net *n, int side)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."};
    struct mot_autonet_builder b;
    mot_vae_naming(n);
    mot_autonet_read_encoder(&v->net, n, &b, side);
    if (mot_net_find(n, "quant_conv.weight"))
        mot_autonet_add_conv(&b, "quant_conv", mot_net_size(n, 0, "quant_conv.weight"), 1);
    v->channels = (int)(b.C / 2);
    check_sizes(v, n, b.C);
    if (mot_net_find(n, "decoder.conv_in.weight") || mot_net_find(n, "decoder.conv_out.weight"))
        read_decoder(v, n);
    mot_net_complain_unused(n, parts, MOT_COUNT(parts));
}

/* ---- loading ---- */

static int real_of(const struct mot_net *n, const char *key, float *out)
{
    const char *text = mot_net_metadata(n, key);
    char *end;
    double x = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || !(fabs(x) <= LARGEST))
        return mot_fail(MOT_EFORMAT, "%s: metadata \"%s\" is missing or no number", n->path, key);
    *out = (float)x;
    return MOT_OK;
}

static int load(struct mot_vae *v, struct mot_net *n, const char *path)
{
    int version = 0, side = 0, rc = mot_net_open(n, path, "encoder.conv_in.weight", &v->net.keep);
    if (!rc)
        rc = mot_autonet_number(n, "version", 1000, &version);
    if (!rc && version != VERSION)
        rc = mot_fail(MOT_EVERSION, "%s: version %d, this program reads %d", path, version, VERSION);
    if (!rc)
        rc = mot_autonet_number(n, "image_size", MOT_AUTONET_MAX_SIDE, &side);
    if (!rc)
        rc = mot_autonet_number(n, "patch_size", MOT_AUTONET_MAX_SIDE, &v->patch);
    if (!rc)
        rc = real_of(n, "scaling_factor", &v->scale);
    if (!rc)
        rc = real_of(n, "shift_factor", &v->shift);
    if (!rc && v->scale == 0)
        rc = mot_fail(MOT_EFORMAT, "%s: a \"scaling_factor\" of 0", path);
    if (rc)
        return rc;
    read_net(v, n, side);
    rc = mot_net_verdict(n, "an AutoencoderKL");
    return rc ? rc : mot_autonet_finish(&v->net);
}

struct mot_vae *mot_vae_load(const char *path)
{
    struct mot_vae *v = mot_alloc(1, sizeof *v);
    struct mot_net n = {0};
    if (!v)
        return NULL;
    mot_autonet_init(&v->net);
    int rc = load(v, &n, path);
    mot_net_close(&n);
    if (!rc)
        return v;
    mot_vae_free(v);
    return NULL;
}

int mot_vae_send(struct mot_vae *v, const struct mot_kernels *k)
{
    return mot_autonet_send(&v->net, k);
}

void mot_vae_free(struct mot_vae *v)
{
    if (!v)
        return;
    mot_autonet_free(&v->net);
    mot_free(v);
}

int mot_vae_side(const struct mot_vae *v)
{
    return v->net.side;
}

void mot_vae_grid(const struct mot_vae *v, struct mot_grid *g)
{
    int across = v->net.latent / v->patch;
    *g = (struct mot_grid){across, across, v->patch * v->patch * v->channels};
}

int mot_vae_patch(const struct mot_vae *v)
{
    return v->patch;
}

bool mot_vae_decodes(const struct mot_vae *v)
{
    return v->net.has_decoder;
}

/* ---- running ---- */

int mot_vae_latent(struct mot_vae *v, const struct mot_image *square, float *z)
{
    struct mot_autonet_runner *r;
    int rc = mot_autonet_encode(&v->net, square, &r);
    if (rc)
        return rc;
    const float *moments = r->host; /* of each pixel the means, then the variances */
    for (int64_t i = 0; i < (int64_t)v->net.latent * v->net.latent; i++)
        for (int c = 0; c < v->channels; c++)
            *z++ = (moments[2 * i * v->channels + c] - v->shift) * v->scale;
    mot_autonet_give_back(&v->net, r);
    return MOT_OK;
}

int mot_vae_encode(struct mot_vae *v, const struct mot_image *square, struct mot_latents *out)
{
    struct mot_grid g;
    mot_vae_grid(v, &g);
    float *z = mot_alloc((size_t)mot_grid_values(&g), sizeof *z);
    int rc = z ? mot_vae_latent(v, square, z) : MOT_ENOMEM;
    if (!rc)
        rc = mot_patches_cut(z, v->net.latent, v->net.latent, v->channels, v->patch, out);
    mot_free(z);
    return rc;
}

int mot_vae_decode(struct mot_vae *v, const uint16_t *value, struct mot_image *out)
{
    if (!v->net.has_decoder)
        return mot_fail(MOT_EARG, "this VAE has no decoder (decoder.conv_in.weight and the like): import a file that has one, to "
                                  "turn vectors into pictures");
    int side = v->net.side;
    struct mot_grid g;
    mot_vae_grid(v, &g);
    *out = (struct mot_image){side, side, mot_alloc((size_t)side * (size_t)side, 3)};
    struct mot_autonet_runner *r = out->rgb ? mot_autonet_borrow(&v->net, &v->net.decoder) : NULL;
    if (!r) {
        mot_image_free(out);
        return MOT_ENOMEM;
    }
    mot_patches_join(&g, value, v->channels, v->patch, r->host);
    for (int64_t i = 0; i < mot_grid_values(&g); i++)
        r->host[i] = r->host[i] / v->scale + v->shift;
    int rc = mot_autonet_run(&v->net, r, &v->net.decoder);
    for (int64_t i = 0; !rc && i < 3 * (int64_t)side * side; i++)
        out->rgb[i] = (unsigned char)(fminf(fmaxf(r->host[i], -1), 1) * 127.5f + 128);
    mot_autonet_give_back(&v->net, r);
    if (rc)
        mot_image_free(out);
    return rc;
}

/* ---- import ---- */

/* Is it the configuration of such a net?  Files beside a net may be of something else. */
static bool of_vae(const json_t *j)
{
    const char *class = json_string_value(json_object_get(j, "_class_name"));
    return class ? strcmp(class, "AutoencoderKL") == 0
                 : json_object_get(j, "scaling_factor") || json_object_get(j, "block_out_channels");
}

/* *j = NULL: there is none. */
static int load_config(const char *from, const char *config, json_t **j)
{
    const char *slash = strrchr(from, '/');
    char *path = config ? mot_strdup(config) : slash ? mot_format("%.*s/config.json", (int)(slash - from), from)
                                                     : mot_strdup("config.json");
    int rc = path ? MOT_OK : MOT_ENOMEM;
    *j = NULL;
    if (!rc && (config || mot_file_exists(path)))
        *j = mot_json_load(path, CONFIG_LIMIT);
    if (!rc && config && !*j)
        rc = MOT_EFORMAT;
    if (!rc && config && !of_vae(*j))
        rc = mot_fail(MOT_EFORMAT, "%s: not the configuration of an AutoencoderKL", config);
    if (*j && !of_vae(*j)) {
        json_decref(*j);
        *j = NULL;
    }
    mot_free(path);
    return rc;
}

static int check_whole(struct mot_net *n, const json_t *j, const char *key, int64_t is)
{
    int64_t says = -1;
    int rc = mot_json_int(j, "config.json", key, 0, INT32_MAX, &says);
    if (!rc)
        mot_autonet_check_value(n, key, says, is);
    return rc;
}

/* What the tensors say and the configuration denies, and what this program does not do. */
static int check_config(const struct mot_vae *v, struct mot_net *n, const json_t *j)
{
    const json_t *widths = json_object_get(j, "block_out_channels"), *latents = json_object_get(j, "latents_mean");
    int levels = mot_autonet_levels(n, "encoder", "down"), rc = check_whole(n, j, "latent_channels", v->channels);
    if (!rc)
        rc = check_whole(n, j, "norm_num_groups", MOT_AUTONET_GROUPS);
    if (!rc)
        rc = check_whole(n, j, "in_channels", 3);
    if (!rc)
        rc = check_whole(n, j, "out_channels", 3);
    if (!rc)
        rc = check_whole(n, j, "layers_per_block", mot_autonet_blocks(n, "encoder", "down"));
    if (json_is_array(widths))
        mot_autonet_check_value(n, "levels of block_out_channels", (int64_t)json_array_size(widths), levels);
    for (int i = 0; json_is_array(widths) && i < levels && i < (int)json_array_size(widths); i++) {
        char key[40];
        snprintf(key, sizeof key, "block_out_channels[%d]", i);
        mot_autonet_check_value(n, key, json_integer_value(json_array_get(widths, (size_t)i)),
                                mot_net_size(n, 0, "encoder.down.%d.block.0.conv1.weight", i));
    }
    const char *act = json_string_value(json_object_get(j, "act_fn"));
    if (act && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        mot_net_complain(n, "the configuration says act_fn = %.40s, this program has silu alone", act);
    if (latents && !json_is_null(latents))
        mot_net_complain(n, "the configuration has latents_mean, a shift for each channel, which this program does not know");
    return rc;
}

/* Scale and shift: as asked for, as the configuration says, or as nets of such channels have them. */
static int choose_scale(const struct mot_vae *v, const struct mot_net *n, const struct mot_vae_options *o, const json_t *j,
                        double *scale, double *shift)
{
    double says = NAN, moved = 0;
    int rc = mot_json_real(j, "config.json", "scaling_factor", -LARGEST, LARGEST, &says);
    if (!rc)
        rc = mot_json_real(j, "config.json", "shift_factor", -LARGEST, LARGEST, &moved);
    if (rc)
        return mot_fail(rc, "%s: %s", n->path, mot_error());
    bool known = !isnan(says), flux = v->channels == 16;
    *scale = !isnan(o->scale) ? o->scale : known ? says : flux ? 0.3611 : v->channels == 4 ? 0.18215 : NAN;
    *shift = !isnan(o->shift) ? o->shift : known ? moved : flux && isnan(o->scale) ? 0.1159 : 0;
    if (isnan(*scale))
        return mot_fail(MOT_EARG, "%s: how are its latents scaled? Give scale=X, or its config.json", n->path);
    if (*scale == 0 || !(fabs(*scale) <= LARGEST) || !(fabs(*shift) <= LARGEST))
        return mot_fail(MOT_EARG, "%s: latents cannot be shifted by %g and scaled by %g", n->path, *shift, *scale);
    return MOT_OK;
}

static int save(const struct mot_vae *v, const struct mot_net *n, double scale, double shift, const char *to)
{
    char text[4][32];
    snprintf(text[0], sizeof text[0], "%d", v->net.side);
    snprintf(text[1], sizeof text[1], "%d", v->patch);
    snprintf(text[2], sizeof text[2], "%.9g", scale);
    snprintf(text[3], sizeof text[3], "%.9g", shift);
    const char *const metadata[] = {"format", "mot-vae", "version", "1", "image_size", text[0], "patch_size", text[1],
                                    "scaling_factor", text[2], "shift_factor", text[3]};
    return mot_net_save(n, to, metadata, 6, NULL, NULL);
}

/* The net is open, its configuration read. */
static int import(struct mot_vae *v, struct mot_net *n, const struct mot_vae_options *o, const json_t *j, const char *to)
{
    double scale = 1, shift = 0;
    v->patch = o->patch ? o->patch : DEFAULT_PATCH;
    read_net(v, n, o->image_size ? o->image_size : DEFAULT_SIDE);
    int rc = j ? check_config(v, n, j) : MOT_OK;
    if (!rc)
        rc = mot_net_verdict(n, "an AutoencoderKL");
    if (!rc)
        rc = choose_scale(v, n, o, j, &scale, &shift);
    return rc ? rc : save(v, n, scale, shift, to);
}

int mot_vae_import(const char *from, const struct mot_vae_options *o, const char *to)
{
    struct mot_net n = {0};
    json_t *j = NULL;
    struct mot_vae *v = mot_alloc(1, sizeof *v);
    int rc = v ? load_config(from, o->config, &j) : MOT_ENOMEM;
    if (!rc && o->image_size > MOT_AUTONET_MAX_SIDE)
        rc = mot_fail(MOT_EARG, "%s: pictures of %d pixels; up to %d", from, o->image_size, MOT_AUTONET_MAX_SIDE);
    if (!rc)
        rc = mot_net_open(&n, from, "encoder.conv_in.weight", &v->net.keep);
    if (!rc)
        rc = import(v, &n, o, j, to);
    mot_net_close(&n);
    if (v)
        mot_keep_free(&v->net.keep);
    mot_free(v);
    json_decref(j);
    return rc;
}
