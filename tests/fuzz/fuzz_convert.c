/* SPDX-License-Identifier: MIT
 *
 * fuzz_convert.c - any bytes as config.json, vocab.json or the index of a model folder that is otherwise whole: it is refused
 * with a reason, or planned; nothing is written.
 */
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "lib/model/model.h"

static char folder[] = "/tmp/fuzz_convert.XXXXXX", parts[64];
static const char *const files[] = {"config.json", "vocab.json", "model.safetensors.index.json"};
static struct mot_bytes good[3];

static void must(bool well)
{
    if (!well) {
        fprintf(stderr, "fuzz_convert: %s\n", mot_error());
        abort();
    }
}

static void put(const char *dir, const char *name, const void *data, size_t n)
{
    char *path = mot_path(dir, name);
    must(path && mot_write_file(path, data, n) == 0);
    mot_free(path);
}

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
    for (int i = 0; i < 3; i++)
        mot_bytes_free(&good[i]);
}

/* A model of two towers in several files. */
static void make_folder(void)
{
    static const char config[] = "{\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
                                 "\"head_dim\":4,\"qk_norm\":\"layernorm\"}",
                      vocab[] = "{\"version\":1,\"modalities\":[{\"name\":\"text\",\"first\":0,\"size\":302},{\"name\":\"image\","
                                "\"first\":302,\"size\":10}],\"special\":{},\"digest\":\"0123456789abcdef\"}";
    must(mkdtemp(folder) != NULL);
    atexit(clean_up);
    snprintf(parts, sizeof parts, "%s/parts", folder);
    put(folder, "config.json", config, strlen(config));
    put(folder, "vocab.json", vocab, strlen(vocab));
    struct mot_config c;
    struct mot_vocab v;
    char err[200];
    must(mot_vocab_load(&v, folder) == 0 && mot_config_load_folder(&c, folder) == 0);
    must(mot_config_settle(&c, folder, &v, NULL) == 0 && mot_config_save(&c, folder, NULL) == 0);
    const struct mot_kernels *k = mot_kernels_cpu(NULL, NULL, err, sizeof err);
    struct mot_model *m = mot_model_new(&c, &v, k, 1, 4, 4, false);
    must(m && mot_model_init(m, 1) == 0 && mot_model_save(m, folder) == 0);
    mot_model_free(m);
    struct mot_convert_options o = {.from = folder, .to = parts, .shard_size = 2048};
    struct mot_converter *convert = mot_converter_open(&o);
    must(convert && mot_converter_run(convert, NULL, NULL) == 0);
    mot_converter_close(convert);
    for (int i = 0; i < 3; i++) {
        char *path = mot_path(parts, files[i]);
        must(path && mot_read_file(path, 1 << 20, &good[i]) == 0);
        mot_free(path);
    }
}

static void nothing(void *context, const char *sentence)
{
    (void)context, (void)sentence;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!good[0].n)
        make_folder();
    for (int i = 0; i < 3; i++) {
        put(parts, files[i], data, n);
        for (int dense = 0; dense < 2; dense++) {
            struct mot_convert_options o = {.from = parts, .form = dense ? "hf" : "mot", .add_vocab = dense ? NULL : "speech=4"};
            struct mot_converter *c = mot_converter_open(&o);
            while (c && mot_converter_complaint(c))
                ;
            mot_converter_close(c);
        }
        struct mot_check found;
        (void)!mot_check_tensors(parts, nothing, NULL, NULL, &found);
        put(parts, files[i], good[i].data, good[i].n);
    }
    return 0;
}
