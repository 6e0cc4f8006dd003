/* SPDX-License-Identifier: MIT
 *
 * schedule.c - the learning rate: linear warm-up, then constant, linear or cosine decay.
 *
 * Step 1 after the warm-up has the full rate, and the last step ends one step short of min_lr, so that no
 * step is wasted at a rate of zero.
 */
#include <math.h>

#include "train.h"

double mot_learning_rate(const struct mot_train_options *o, int64_t steps, int64_t step)
{
    if (step <= o->warmup)
        return o->lr * (double)step / (double)o->warmup;
    double left = (double)(steps - o->warmup);
    double share = left > 0 ? (double)(step - 1 - o->warmup) / left : 0;
    if (share > 1)
        share = 1;
    switch (o->schedule) {
    case MOT_CONSTANT: return o->lr;
    case MOT_LINEAR: return o->lr + (o->min_lr - o->lr) * share;
    case MOT_COSINE: return o->min_lr + (o->lr - o->min_lr) * 0.5 * (1 + cos(3.14159265358979323846 * share));
    }
    return o->lr;
}
