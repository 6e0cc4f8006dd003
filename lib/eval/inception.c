/* SPDX-License-Identifier: MIT
 *
 * inception.c - InceptionV3 (Szegedy et al. 2015) as FID has it: the net of TensorFlow's 2015-12-05 release under the names that
 * pytorch-fid gives its tensors, up to the mean over the last picture.  Average pools do not count what lies outside, and the last
 * block has a maximum in the place of an average, as that release had it.  Each convolution is followed by a BatchNorm, which is
 * folded into its weights, and cuts off what is below 0.
 *
 * Pictures of any shape become 299 x 299 (bilinear, pixels' centres, without smoothing) and x / 127.5 - 1.
 *
 * How many channels there are is told by the tensors.
 */
#include <math.h>
#include <omp.h>

#include "../token/net.h"
#include "eval.h"

enum { SIDE = 299, OPS = 140, BLOCKS = 12 };
static const double BATCH_EPS = 0.001;

/* ---- the net, block by block ---- */

enum op_kind { CONV, AVERAGE, MAXIMUM };
enum slot { IN, X, Y, OUT, SLOTS }; /* what a block starts from, two arrays beside it, and what it makes: channel behind channel */
struct op {
    enum op_kind kind;
    const char *name; /* of a convolution, behind the block's */
    int kh, kw, stride;
    bool same; /* the picture keeps its size */
    enum slot from, to;
};
struct block {
    const char *name;
    const struct op *op;
    int n;
};

static const struct op stem[] = {
    {CONV, "Conv2d_1a_3x3", 3, 3, 2, false, IN, X}, {CONV, "Conv2d_2a_3x3", 3, 3, 1, false, X, Y},
    {CONV, "Conv2d_2b_3x3", 3, 3, 1, true, Y, X},   {MAXIMUM, NULL, 3, 3, 2, false, X, Y},
    {CONV, "Conv2d_3b_1x1", 1, 1, 1, true, Y, X},   {CONV, "Conv2d_4a_3x3", 3, 3, 1, false, X, Y},
    {MAXIMUM, NULL, 3, 3, 2, false, Y, OUT},
};
static const struct op block_a[] = {
    {CONV, "branch1x1", 1, 1, 1, true, IN, OUT},
    {CONV, "branch5x5_1", 1, 1, 1, true, IN, X},    {CONV, "branch5x5_2", 5, 5, 1, true, X, OUT},
    {CONV, "branch3x3dbl_1", 1, 1, 1, true, IN, X}, {CONV, "branch3x3dbl_2", 3, 3, 1, true, X, Y},
    {CONV, "branch3x3dbl_3", 3, 3, 1, true, Y, OUT},
    {AVERAGE, NULL, 3, 3, 1, true, IN, X},          {CONV, "branch_pool", 1, 1, 1, true, X, OUT},
};
static const struct op block_b[] = {
    {CONV, "branch3x3", 3, 3, 2, false, IN, OUT},
    {CONV, "branch3x3dbl_1", 1, 1, 1, true, IN, X}, {CONV, "branch3x3dbl_2", 3, 3, 1, true, X, Y},
    {CONV, "branch3x3dbl_3", 3, 3, 2, false, Y, OUT},
    {MAXIMUM, NULL, 3, 3, 2, false, IN, OUT},
};
static const struct op block_c[] = {
    {CONV, "branch1x1", 1, 1, 1, true, IN, OUT},
    {CONV, "branch7x7_1", 1, 1, 1, true, IN, X},    {CONV, "branch7x7_2", 1, 7, 1, true, X, Y},
    {CONV, "branch7x7_3", 7, 1, 1, true, Y, OUT},
    {CONV, "branch7x7dbl_1", 1, 1, 1, true, IN, X}, {CONV, "branch7x7dbl_2", 7, 1, 1, true, X, Y},
    {CONV, "branch7x7dbl_3", 1, 7, 1, true, Y, X},  {CONV, "branch7x7dbl_4", 7, 1, 1, true, X, Y},
    {CONV, "branch7x7dbl_5", 1, 7, 1, true, Y, OUT},
    {AVERAGE, NULL, 3, 3, 1, true, IN, X},          {CONV, "branch_pool", 1, 1, 1, true, X, OUT},
};
static const struct op block_d[] = {
    {CONV, "branch3x3_1", 1, 1, 1, true, IN, X},    {CONV, "branch3x3_2", 3, 3, 2, false, X, OUT},
    {CONV, "branch7x7x3_1", 1, 1, 1, true, IN, X},  {CONV, "branch7x7x3_2", 1, 7, 1, true, X, Y},
    {CONV, "branch7x7x3_3", 7, 1, 1, true, Y, X},   {CONV, "branch7x7x3_4", 3, 3, 2, false, X, OUT},
    {MAXIMUM, NULL, 3, 3, 2, false, IN, OUT},
};
#define BLOCK_E(pool)                                                                                                  \
    {                                                                                                                  \
        {CONV, "branch1x1", 1, 1, 1, true, IN, OUT}, {CONV, "branch3x3_1", 1, 1, 1, true, IN, X},                      \
        {CONV, "branch3x3_2a", 1, 3, 1, true, X, OUT}, {CONV, "branch3x3_2b", 3, 1, 1, true, X, OUT},                  \
        {CONV, "branch3x3dbl_1", 1, 1, 1, true, IN, X}, {CONV, "branch3x3dbl_2", 3, 3, 1, true, X, Y},                 \
        {CONV, "branch3x3dbl_3a", 1, 3, 1, true, Y, OUT}, {CONV, "branch3x3dbl_3b", 3, 1, 1, true, Y, OUT},            \
        {pool, NULL, 3, 3, 1, true, IN, X}, {CONV, "branch_pool", 1, 1, 1, true, X, OUT},                              \
    }
static const struct op block_e1[] = BLOCK_E(AVERAGE), block_e2[] = BLOCK_E(MAXIMUM);

#define BLOCK(name, ops) {name, ops, MOT_COUNT(ops)}
static const struct block blocks[BLOCKS] = {
    BLOCK("", stem), BLOCK("Mixed_5b.", block_a), BLOCK("Mixed_5c.", block_a), BLOCK("Mixed_5d.", block_a),
    BLOCK("Mixed_6a.", block_b), BLOCK("Mixed_6b.", block_c), BLOCK("Mixed_6c.", block_c), BLOCK("Mixed_6d.", block_c),
    BLOCK("Mixed_6e.", block_c), BLOCK("Mixed_7a.", block_d), BLOCK("Mixed_7b.", block_e1), BLOCK("Mixed_7c.", block_e2),
};

/* An op of the net read: a pool is told by its shape too, with O = C. */
struct step {
    const struct op *op;
    struct mot_conv shape;
    const float *w, *b;
    int64_t at, width; /* its channels begin with `at` of `width` where it goes */
    bool last;         /* of its block */
};
struct mot_inception {
    struct mot_keep keep;
    struct mot_conv conv[OPS];
    struct step step[OPS];
    int n;
    const struct mot_kernels *kernels;
    struct mot_device *d;
    float *slot[SLOTS], *made; /* made: what a convolution makes, before it goes to its place */
    size_t floats;             /* of each */
};

/* ---- reading ---- */

static int64_t out_size(int64_t n, int k, const struct op *op)
{
    return op->same ? n : (n - k) / op->stride + 1;
}

static struct mot_conv shape_of(const struct op *op, const struct mot_conv *before, int64_t O)
{
    struct mot_conv c = {.H = before->OH, .W = before->OW, .C = before->O, .kh = op->kh, .kw = op->kw, .stride = op->stride,
                         .up = 1, .groups = 1};
    c.OH = out_size(c.H, op->kh, op);
    c.OW = out_size(c.W, op->kw, op);
    c.O = O ? O : c.C;
    c.top = op->same ? op->kh / 2 : 0;
    c.left = op->same ? op->kw / 2 : 0;
    return c;
}

/* The BatchNorm goes into the weights; a variance below 0 is a complaint. */
static void fold(struct mot_net *n, struct step *s, float *w, const char *name)
{
    const int64_t O = s->shape.O;
    const float *gain = mot_net_take(n, 1, &O, "%s.bn.weight", name), *bias = mot_net_take(n, 1, &O, "%s.bn.bias", name);
    const float *mean = mot_net_take(n, 1, &O, "%s.bn.running_mean", name);
    const float *variance = mot_net_take(n, 1, &O, "%s.bn.running_var", name);
    float *b = mot_keep_floats(n->keep, (size_t)O, 1);
    n->out_of_memory |= !b;
    if (!w || !gain || !bias || !mean || !variance || !b)
        return;
    for (int64_t o = 0; o < O; o++) {
        if (variance[o] < 0) {
            mot_net_complain(n, "%s.bn.running_var has a value below 0", name);
            return;
        }
        double scale = (double)gain[o] / sqrt((double)variance[o] + BATCH_EPS);
        b[o] = (float)((double)bias[o] - (double)mean[o] * scale);
        for (int64_t i = 0; i < s->shape.kh * s->shape.kw * s->shape.C; i++)
            w[i * O + o] = (float)((double)w[i * O + o] * scale);
    }
    s->b = b;
}

static void read_conv(struct mot_net *n, const struct block *block, const struct mot_conv *before, struct step *s)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", block->name, s->op->name);
    int64_t O = mot_net_size(n, 0, "%s.conv.weight", name);
    s->shape = shape_of(s->op, before, O > 0 && O <= 1 << 16 ? O : 1);
    float *w = mot_net_take_conv(n, &s->shape, 4, "%s.conv.weight", name);
    fold(n, s, w, name);
    s->w = w;
}

/* Every op, each from the picture that stands in its slot. */
static void read_blocks(struct mot_inception *v, struct mot_net *n)
{
    struct mot_conv slot[SLOTS] = {{.OH = SIDE, .OW = SIDE, .O = 3}}; /* what made it */
    for (int b = 0; b < BLOCKS; b++) {
        int first = v->n;
        int64_t width = 0;
        for (int i = 0; i < blocks[b].n; i++) {
            struct step *s = &v->step[v->n++];
            s->op = &blocks[b].op[i];
            if (s->op->kind == CONV)
                read_conv(n, &blocks[b], &slot[s->op->from], s);
            else
                s->shape = shape_of(s->op, &slot[s->op->from], 0);
            s->at = s->op->to == OUT ? width : 0;
            s->width = s->shape.O;
            width += s->op->to == OUT ? s->shape.O : 0;
            slot[s->op->to] = s->shape;
        }
        slot[OUT].O = width;
        for (int i = first; i < v->n; i++)
            if (v->step[i].op->to == OUT)
                v->step[i].width = width;
        v->step[v->n - 1].last = true;
        slot[IN] = slot[OUT];
    }
}

/* A device and arrays that hold every picture on the way. */
static int make_room(struct mot_inception *v, int threads)
{
    struct mot_limits l = {.N = 1, .segment = 1, .C = 1, .H = 1, .K = 1, .D = 2, .F = 1, .V = 1, .G = 1, .conv = v->conv};
    v->floats = 3 * SIDE * SIDE;
    for (int i = 0; i < v->n; i++) {
        const struct step *s = &v->step[i];
        size_t floats = (size_t)(s->shape.OH * s->shape.OW * s->width);
        v->floats = floats > v->floats ? floats : v->floats;
        if (s->op->kind == CONV)
            v->conv[l.n_conv++] = s->shape;
    }
    v->kernels = mot_device_find("cpu", "f32");
    v->d = v->kernels ? mot_net_device(v->kernels, threads > 0 ? threads : omp_get_max_threads(), &l) : NULL;
    for (int i = 0; v->d && i < SLOTS; i++)
        if (!(v->slot[i] = mot_alloc(v->floats, sizeof(float))))
            return MOT_ENOMEM;
    v->made = v->d ? mot_alloc(v->floats, sizeof *v->made) : NULL;
    return v->made ? MOT_OK : MOT_ENOMEM;
}

struct mot_inception *mot_inception_open(const char *path, int threads)
{
    struct mot_inception *v = mot_alloc(1, sizeof *v);
    struct mot_net n = {0};
    if (!v)
        return NULL;
    int rc = mot_net_open(&n, path, "Conv2d_1a_3x3.conv.weight", &v->keep);
    if (!rc) {
        read_blocks(v, &n);
        rc = mot_net_verdict(&n, "an InceptionV3");
    }
    mot_net_close(&n);
    if (!rc)
        rc = make_room(v, threads);
    if (!rc)
        return v;
    mot_inception_close(v);
    return NULL;
}

void mot_inception_close(struct mot_inception *v)
{
    if (!v)
        return;
    if (v->d)
        v->kernels->close(v->d);
    for (int i = 0; i < SLOTS; i++)
        mot_free(v->slot[i]);
    mot_free(v->made);
    mot_keep_free(&v->keep);
    mot_free(v);
}

int mot_inception_width(const struct mot_inception *v)
{
    return (int)v->step[v->n - 1].width;
}

/* ---- running ---- */

/* Where a bilinear sample lies between two pixels of n that become SIDE. */
static float between(int to, int n, int *first, int *second)
{
    float scale = (float)n / SIDE, at = fmaxf(((float)to + 0.5f) * scale - 0.5f, 0);
    *first = (int)at < n - 1 ? (int)at : n - 1;
    *second = *first + 1 < n ? *first + 1 : *first;
    return at - (float)*first;
}

static void resize(const struct mot_image *im, float *out)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, out += 3) {
            int y0, y1, x0, x1;
            float v = between(y, im->height, &y0, &y1), u = between(x, im->width, &x0, &x1);
            const unsigned char *a = im->rgb + 3 * (size_t)y0 * (size_t)im->width, *b = im->rgb + 3 * (size_t)y1 * (size_t)im->width;
            for (int c = 0; c < 3; c++) {
                float above = (1 - u) * a[3 * x0 + c] + u * a[3 * x1 + c], below = (1 - u) * b[3 * x0 + c] + u * b[3 * x1 + c];
                out[c] = ((1 - v) * above + v * below) / 127.5f - 1;
            }
        }
}

/* What is below 0 is cut off; rows of O go to their channels. */
static void place(const struct step *s, const float *made, float *to)
{
    for (int64_t i = 0; i < s->shape.OH * s->shape.OW; i++)
        for (int64_t o = 0; o < s->shape.O; o++)
            to[i * s->width + s->at + o] = fmaxf(made[i * s->shape.O + o], 0);
}

/* The average or maximum of what of a window lies inside. */
static void pool(const struct step *s, const float *x, float *to)
{
    const struct mot_conv *c = &s->shape;
    for (int64_t y = 0; y < c->OH; y++)
        for (int64_t z = 0; z < c->OW; z++) {
            int64_t top = y * c->stride - c->top, left = z * c->stride - c->left, n = 0;
            float *out = to + (y * c->OW + z) * s->width + s->at;
            for (int64_t i = top > 0 ? top : 0; i < top + c->kh && i < c->H; i++)
                for (int64_t j = left > 0 ? left : 0; j < left + c->kw && j < c->W; j++) {
                    const float *in = x + (i * c->W + j) * c->C;
                    bool first = n++ == 0;
                    for (int64_t o = 0; o < c->O; o++)
                        out[o] = first ? in[o] : s->op->kind == AVERAGE ? out[o] + in[o] : fmaxf(out[o], in[o]);
                }
            for (int64_t o = 0; s->op->kind == AVERAGE && o < c->O; o++)
                out[o] /= (float)n;
        }
}

int mot_inception_look(struct mot_inception *v, const struct mot_image *im, float *feature)
{
    const struct step *last = &v->step[v->n - 1];
    int64_t pixels = last->shape.OH * last->shape.OW;
    if (im->width < 1 || im->height < 1)
        return mot_fail(MOT_EARG, "a picture without pixels");
    resize(im, v->slot[IN]);
    for (int i = 0; i < v->n; i++) {
        const struct step *s = &v->step[i];
        if (s->op->kind == CONV) {
            v->kernels->conv2d(v->d, v->made, v->slot[s->op->from], s->w, s->b, &s->shape, 0);
            place(s, v->made, v->slot[s->op->to]);
        } else {
            pool(s, v->slot[s->op->from], v->slot[s->op->to]);
        }
        if (s->last) {
            float *in = v->slot[IN];
            v->slot[IN] = v->slot[OUT];
            v->slot[OUT] = in;
        }
    }
    for (int64_t o = 0; o < last->width; o++) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; i++)
            sum += (double)v->slot[IN][i * last->width + o];
        feature[o] = (float)(sum / (double)pixels);
        if (!isfinite(feature[o]))
            return mot_fail(MOT_EFORMAT, "feature %lld of a picture is no number: are these the weights of this net?", (long long)o);
    }
    return mot_net_wait(v->kernels, v->d);
}
