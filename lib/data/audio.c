/* SPDX-License-Identifier: MIT
 *
 * audio.c - sounds: what libsndfile reads in, as one channel of floats; 16-bit WAV out; resampling.
 *
 * Channels are averaged (many recordings leave one silent).  What is read is what counts, never
 * what a header promises: buffers grow with the samples, and where a header is trustworthy a
 * shortage is told as damage.
 */
#include <math.h>

#include <sndfile.h>

#include "source.h"

enum { MIN_RATE = 1000, MAX_RATE = 1000000, CHUNK = 1 << 14 };
static const int64_t max_samples = (int64_t)1 << 29; /* 3.4 hours at 44.1 kHz, 2 GiB */

/* ---- a file in memory, for libsndfile ---- */

struct memory_file {
    const unsigned char *data;
    sf_count_t n, at;
};

static sf_count_t memory_size(void *context)
{
    return ((struct memory_file *)context)->n;
}

static sf_count_t memory_seek(sf_count_t offset, int whence, void *context)
{
    struct memory_file *f = context;
    sf_count_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? f->at : f->n;
    if (offset < -base || offset > f->n - base)
        return -1;
    return f->at = base + offset;
}

static sf_count_t memory_read(void *to, sf_count_t n, void *context)
{
    struct memory_file *f = context;
    if (n < 0)
        return 0;
    n = n < f->n - f->at ? n : f->n - f->at;
    memcpy(to, f->data + f->at, (size_t)n);
    f->at += n;
    return n;
}

static sf_count_t memory_write(const void *from, sf_count_t n, void *context)
{
    (void)from, (void)n, (void)context;
    return 0;
}

static sf_count_t memory_tell(void *context)
{
    return ((struct memory_file *)context)->at;
}

/* ---- loading ---- */

/* A WAV's data chunk must be there in full.  libsndfile takes what there is; programs that write
 * into pipes promise sizes near 2^31 or 2^32 for "unknown". */
static int check_wav(const unsigned char *p, size_t n, const char *name)
{
    if (n < 12 || memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WAVE", 4) != 0)
        return MOT_OK;
    for (size_t at = 12; n - at >= 8;) {
        size_t size = mot_get32(p + at + 4), left = n - at - 8;
        if (memcmp(p + at, "data", 4) == 0) {
            if (size < 0x7fff0000 && size > left)
                return mot_fail(MOT_ECORRUPT, "%s: truncated WAV: %zu bytes of sound, expected %zu",
                                name, left, size);
            return MOT_OK;
        }
        size += size & 1;
        if (size > left)
            break;
        at += 8 + size;
    }
    return mot_fail(MOT_ECORRUPT, "%s: truncated WAV: no sound in it", name);
}

/* Ogg's CRC-32 of a page, whose own field (bytes 22 to 25) counts as zero: zlib's polynomial, the other way round. */
static uint32_t ogg_crc(const unsigned char *p, size_t n)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint32_t)(i < 22 || i > 25 ? p[i] : 0) << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
    }
    return crc;
}

enum { OGG_HEAD = 27, OGG_FIRST = 2, OGG_LAST = 4 };

/* The bytes of the page at p, 0 if none begins there, SIZE_MAX if it does not end within n. */
static size_t ogg_page(const unsigned char *p, size_t n)
{
    if (n < 4 || memcmp(p, "OggS", 4) != 0)
        return 0;
    size_t size = n < OGG_HEAD ? SIZE_MAX : OGG_HEAD + (size_t)p[26];
    for (size_t i = 0; size < n && i < p[26]; i++)
        size += p[OGG_HEAD + i];
    return size <= n ? size : SIZE_MAX;
}

/* Whole pages with good checksums.  libsndfile passes over pages that are damaged and takes what is left of a truncated file
 * for all of it.  Recordings of streams have no page that is marked as the last: then the file must end with a page.  What
 * follows a last page (tags of players) is not looked at. */
static int check_ogg(const unsigned char *p, size_t n, const char *name)
{
    size_t at = 0, size;
    bool last = false;
    if (ogg_page(p, n) == 0)
        return MOT_OK;
    while ((size = ogg_page(p + at, n - at)) != 0 && size != SIZE_MAX) {
        if (ogg_crc(p + at, size) != mot_get32(p + at + 22))
            return mot_fail(MOT_ECORRUPT, "%s: damaged Ogg: wrong checksum of the page at byte %zu", name, at);
        last = p[at + 5] & OGG_LAST;
        at += size;
    }
    return last || (at == n && at > 0) ? MOT_OK : mot_fail(MOT_ECORRUPT, "%s: truncated or damaged Ogg: no whole page at byte %zu", name, at);
}

/* Recordings may be put one after the other in one Ogg, of which libsndfile reads the first: where the first one ends, n if
 * it is alone.  Of several streams at once all first pages stand in front. */
static size_t first_sound(const unsigned char *p, size_t n)
{
    bool heads = true;
    for (size_t at = 0, size; (size = ogg_page(p + at, n - at)) != 0 && size != SIZE_MAX; at += size) {
        bool head = p[at + 5] & OGG_FIRST;
        if (head && !heads)
            return at;
        heads = head;
    }
    return n;
}

/* Append n frames to a, averaged over their channels, made finite and kept in [-1, 1]. */
static int mix(struct mot_audio *a, int64_t *capacity, const float *frames, int64_t n, int channels)
{
    while (*capacity < a->n + n) {
        int rc = mot_grow((void **)&a->sample, *capacity, capacity, sizeof *a->sample);
        if (rc)
            return rc;
    }
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int c = 0; c < channels; c++) {
            float x = frames[i * channels + c];
            sum += isfinite(x) ? x : 0;
        }
        sum /= (float)channels;
        a->sample[a->n + i] = sum < -1 ? -1 : sum > 1 ? 1 : sum;
    }
    a->n += n;
    return MOT_OK;
}

static int read_samples(struct mot_audio *a, SNDFILE *f, const SF_INFO *info, const char *name)
{
    int64_t capacity = a->n;
    sf_count_t at_once = CHUNK / info->channels > 0 ? CHUNK / info->channels : 1;
    float *frames = mot_alloc((size_t)at_once * (size_t)info->channels, sizeof *frames);
    int rc = frames ? MOT_OK : MOT_ENOMEM;
    for (sf_count_t n = 1; !rc && n > 0;) {
        n = sf_readf_float(f, frames, at_once);
        if (n > 0)
            rc = mix(a, &capacity, frames, n, info->channels);
        if (a->n > max_samples)
            rc = mot_fail(MOT_EFORMAT, "%s: more than %lld samples: cut it into parts", name,
                          (long long)max_samples);
    }
    mot_free(frames);
    if (!rc && sf_error(f) != SF_ERR_NO_ERROR)
        rc = mot_fail(MOT_ECORRUPT, "%s: damaged sound: %s", name, sf_strerror(f));
    return rc;
}

/* How many samples there must be at least.  FLAC knows its length to the sample, MP3 to a frame or two if it knows it at all;
 * of others it may be a guess. */
static sf_count_t least(const SF_INFO *info, bool counted)
{
    enum { TWO_FRAMES = 2 * 1152 };
    int type = info->format & SF_FORMAT_TYPEMASK;
    if (info->frames == SF_COUNT_MAX || (type == SF_FORMAT_MPEG && !counted))
        return 0;
    if (type == SF_FORMAT_FLAC)
        return info->frames;
    return type == SF_FORMAT_MPEG ? info->frames - TWO_FRAMES : info->frames - info->frames / 10;
}

static int read_all(struct mot_audio *a, SNDFILE *f, const SF_INFO *info, const struct memory_file *file, const char *name)
{
    int64_t before = a->n;
    bool counted = false, cut = false;
    int rc = read_samples(a, f, info, name);
    if (rc)
        return rc;
    if ((info->format & SF_FORMAT_TYPEMASK) == SF_FORMAT_MPEG)
        mot_mp3_look(file->data, (size_t)file->n, &counted, &cut);
    if (a->n - before < least(info, counted))
        return mot_fail(MOT_ECORRUPT, "%s: damaged or truncated sound: %lld samples, expected %lld",
                        name, (long long)(a->n - before), (long long)info->frames);
    if (cut)
        return mot_fail(MOT_ECORRUPT, "%s: truncated MP3: its last frame is not whole", name);
    if (a->n == 0)
        return mot_fail(MOT_ECORRUPT, "%s: a sound of 0 samples", name);
    return MOT_OK;
}

/* Append one sound to a. */
static int load_one(struct mot_audio *a, const unsigned char *data, size_t n, const char *name)
{
    struct memory_file file = {data, (sf_count_t)n, 0};
    SF_VIRTUAL_IO io = {memory_size, memory_seek, memory_read, memory_write, memory_tell};
    SF_INFO info = {0};
    int rc;
    SNDFILE *f = n ? sf_open_virtual(&io, SFM_READ, &info, &file) : NULL;
    if (!f)
        return mot_fail(MOT_EFORMAT, "%s: not a sound that can be read: %s", name,
                        n ? sf_strerror(NULL) : "it is empty");
    if (info.samplerate < MIN_RATE || info.samplerate > MAX_RATE || info.channels < 1)
        rc = mot_fail(MOT_EFORMAT, "%s: %d channels at %d Hz, expected %d..%d Hz", name,
                      info.channels, info.samplerate, MIN_RATE, MAX_RATE);
    else if (a->n && info.samplerate != a->rate)
        rc = mot_fail(MOT_EFORMAT, "%s: an Ogg of sounds at %d Hz and at %d Hz, one after the other", name, a->rate,
                      info.samplerate);
    else
        rc = read_all(a, f, &info, &file, name);
    sf_close(f);
    a->rate = info.samplerate;
    return rc;
}

int mot_audio_load(struct mot_audio *a, const void *data, size_t n, const char *name)
{
    *a = (struct mot_audio){0};
    const unsigned char *p = data;
    int rc = check_wav(p, n, name);
    if (!rc)
        rc = check_ogg(p, n, name);
    for (bool more = true; !rc && more; more = n > 0) {
        size_t one = first_sound(p, n);
        rc = load_one(a, p, one, name);
        p += one, n -= one;
    }
    if (rc)
        mot_audio_free(a);
    return rc;
}

/* ---- saving ---- */

int mot_audio_save_wav(const struct mot_audio *a, const char *path)
{
    if (a->n < 0 || a->n > 0x7fffffff || a->rate <= 0)
        return mot_fail(MOT_EARG, "%s: a sound of %lld samples at %d Hz cannot be a WAV file", path,
                        (long long)a->n, a->rate);
    uint32_t bytes = 2 * (uint32_t)a->n, rate = (uint32_t)a->rate;
    unsigned char head[44], piece[4096];
    memcpy(head, "RIFF....WAVEfmt ", 16);
    mot_put32(head + 4, 36 + bytes);
    mot_put32(head + 16, 16); /* bytes of the format: */
    mot_put16(head + 20, 1);  /* integers */
    mot_put16(head + 22, 1);  /* channel */
    mot_put32(head + 24, rate);
    mot_put32(head + 28, 2 * rate); /* bytes a second */
    mot_put16(head + 32, 2);        /* bytes a frame */
    mot_put16(head + 34, 16);       /* bits a sample */
    memcpy(head + 36, "data", 4);
    mot_put32(head + 40, bytes);
    struct mot_out *o = mot_out_open(path);
    if (!o)
        return MOT_EIO;
    int rc = mot_out_write(o, head, sizeof head);
    for (int64_t i = 0, n; !rc && i < a->n; i += n) {
        n = a->n - i < (int64_t)sizeof piece / 2 ? a->n - i : (int64_t)sizeof piece / 2;
        for (int64_t k = 0; k < n; k++) { /* 32768, as readers divide by it; NaN becomes silence */
            float x = a->sample[i + k] * 32768;
            long v = !(x > -32768) ? (isnan(x) ? 0 : -32768) : x > 32767 ? 32767 : lrintf(x);
            mot_put16(piece + 2 * k, (uint32_t)v & 0xffff);
        }
        rc = mot_out_write(o, piece, 2 * (size_t)n);
    }
    if (!rc)
        return mot_out_commit(o);
    mot_out_abort(o);
    return rc;
}

/* ---- resampling ----
 *
 * Output j stands at time j M / L of the input, L / M the ratio of the rates in lowest terms, and
 * is the input convolved with a low-pass there:
 *
 *   h(t) = c sinc(c t) kaiser(t / W),   c = ROLLOFF min(1, L / M),   W = CROSSINGS / min(1, L / M)
 *
 * t takes L fractional parts, so there are L rows of coefficients, each scaled to sum 1 (a constant
 * stays one exactly).  Kaiser's window with beta 8.6 falls to -86 dB within 0.11 of the band for
 * twice 48 crossings, hence ROLLOFF 0.945: nothing above the new band's edge comes through, all
 * below 0.89 of it does (Kaiser 1974; Smith, "Digital Audio Resampling"). */

#define CROSSINGS 48
#define ROLLOFF 0.945
#define BETA 8.6
/* Coefficients kept; odd ratios beyond make each row when it is needed. */
enum { TABLE_LIMIT = 1 << 22 };

struct filter {
    int64_t L, M;
    double cutoff, width;
    int64_t taps; /* row: inputs floor(time) - taps / 2 + 1 ... floor(time) + taps / 2 */
    float *table; /* L rows or NULL */
    float *row;
};

static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; term > 1e-12 * sum; k++) {
        term *= x / (2 * k) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

static void make_row(const struct filter *f, int64_t phase, float *row)
{
    double fraction = (double)phase / (double)f->L, sum = 0;
    for (int64_t k = 0; k < f->taps; k++) {
        double t = (double)(k - f->taps / 2 + 1) - fraction, u = t / f->width;
        double x = M_PI * f->cutoff * t, sinc = fabs(x) < 1e-9 ? 1 : sin(x) / x;
        double h = fabs(u) < 1 ? bessel_i0(BETA * sqrt(1 - u * u)) * sinc : 0;
        row[k] = (float)h;
        sum += h;
    }
    for (int64_t k = 0; k < f->taps; k++)
        row[k] = (float)(row[k] / sum);
}

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static int make_filter(struct filter *f, int from, int to)
{
    int64_t d = greatest_divisor(from, to);
    f->L = to / d;
    f->M = from / d;
    double ratio = to < from ? (double)to / from : 1;
    f->cutoff = ROLLOFF * ratio;
    f->width = CROSSINGS / ratio;
    f->taps = 2 * (int64_t)ceil(f->width);
    f->row = mot_alloc((size_t)f->taps, sizeof *f->row);
    if (!f->row)
        return MOT_ENOMEM;
    if (f->L > TABLE_LIMIT / f->taps)
        return MOT_OK;
    f->table = mot_alloc((size_t)(f->L * f->taps), sizeof *f->table);
    for (int64_t p = 0; f->table && p < f->L; p++)
        make_row(f, p, f->table + p * f->taps);
    return f->table ? MOT_OK : MOT_ENOMEM;
}

/* Input before the begin and after the end is silence. */
static float convolve(const struct filter *f, const struct mot_audio *a, int64_t at,
                      const float *row)
{
    int64_t first = at - f->taps / 2 + 1, lo = first < 0 ? -first : 0;
    int64_t hi = a->n - first < f->taps ? a->n - first : f->taps;
    const float *x = a->sample + (first + lo), *h = row + lo;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < hi - lo; k++)
        sum += h[k] * x[k];
    return sum;
}

int mot_audio_resample(const struct mot_audio *a, int rate, struct mot_audio *out)
{
    *out = (struct mot_audio){.rate = rate};
    if (a->rate < 1 || rate < 1 || a->rate > MAX_RATE || rate > MAX_RATE || a->n < 0)
        return mot_fail(MOT_EARG, "cannot resample from %d Hz to %d Hz", a->rate, rate);
    struct filter f = {0};
    int64_t d = greatest_divisor(a->rate, rate), last;
    if (__builtin_mul_overflow(a->n, rate / d, &last) || last / (a->rate / d) > 2 * max_samples)
        return mot_fail(MOT_EARG, "resampling %lld samples from %d Hz to %d Hz gives too many",
                        (long long)a->n, a->rate, rate);
    out->n = last / (a->rate / d) + (last % (a->rate / d) != 0);
    out->sample = mot_alloc((size_t)out->n, sizeof *out->sample);
    int rc = out->sample ? MOT_OK : MOT_ENOMEM;
    if (!rc && a->rate == rate)
        memcpy(out->sample, a->n ? a->sample : out->sample, (size_t)a->n * sizeof *a->sample);
    else if (!rc && !(rc = make_filter(&f, a->rate, rate)))
        for (int64_t j = 0, at = 0, phase = 0; j < out->n; j++) {
            if (!f.table)
                make_row(&f, phase, f.row);
            out->sample[j] = convolve(&f, a, at, f.table ? f.table + phase * f.taps : f.row);
            phase += f.M;
            at += phase / f.L;
            phase %= f.L;
        }
    mot_free(f.table);
    mot_free(f.row);
    if (rc)
        mot_audio_free(out);
    return rc;
}
