/* SPDX-License-Identifier: MIT
 *
 * names.h - the cpu backend's names, once for each instruction set.
 *
 * The Makefile compiles every file of kernels/cpu/ again for each set of instructions that a
 * processor may have or lack, with MOT_CPU_SET as the set's name; kernels/select.c chooses among
 * the results at run time.  They end in one program, so whatever one file here lends to another
 * needs a name of its own in each set: mot_cpu_linear becomes mot_cpu_linear_avx2, and so on.
 * A name that is missing below makes the linker complain of two definitions.
 */
#ifndef MOT_CPU_NAMES_H
#define MOT_CPU_NAMES_H

#ifndef MOT_CPU_SET
#define MOT_CPU_SET baseline
#endif

#define MOT_CPU_JOIN(name, set) mot_cpu_##name##_##set
#define MOT_CPU_NAME_IN(name, set) MOT_CPU_JOIN(name, set)
#define MOT_CPU_NAME(name) MOT_CPU_NAME_IN(name, MOT_CPU_SET)

#define mot_cpu_table MOT_CPU_NAME(table)

#define mot_cpu_activate MOT_CPU_NAME(activate)
#define mot_cpu_adamw MOT_CPU_NAME(adamw)
#define mot_cpu_attend MOT_CPU_NAME(attend)
#define mot_cpu_attend_need MOT_CPU_NAME(attend_need)
#define mot_cpu_attention MOT_CPU_NAME(attention)
#define mot_cpu_attention_back MOT_CPU_NAME(attention_back)
#define mot_cpu_attention_need MOT_CPU_NAME(attention_need)
#define mot_cpu_attention_past MOT_CPU_NAME(attention_past)
#define mot_cpu_cast MOT_CPU_NAME(cast)
#define mot_cpu_clip MOT_CPU_NAME(clip)
#define mot_cpu_conv2d MOT_CPU_NAME(conv2d)
#define mot_cpu_conv_need MOT_CPU_NAME(conv_need)
#define mot_cpu_embed MOT_CPU_NAME(embed)
#define mot_cpu_embed_back MOT_CPU_NAME(embed_back)
#define mot_cpu_groupnorm MOT_CPU_NAME(groupnorm)
#define mot_cpu_groupnorm_need MOT_CPU_NAME(groupnorm_need)
#define mot_cpu_head_loss MOT_CPU_NAME(head_loss)
#define mot_cpu_head_need MOT_CPU_NAME(head_need)
#define mot_cpu_layernorm MOT_CPU_NAME(layernorm)
#define mot_cpu_linear MOT_CPU_NAME(linear)
#define mot_cpu_linear_back_w MOT_CPU_NAME(linear_back_w)
#define mot_cpu_linear_back_x MOT_CPU_NAME(linear_back_x)
#define mot_cpu_linear_need MOT_CPU_NAME(linear_need)
#define mot_cpu_logits MOT_CPU_NAME(logits)
#define mot_cpu_norm_need MOT_CPU_NAME(norm_need)
#define mot_cpu_note MOT_CPU_NAME(note)
#define mot_cpu_optim_need MOT_CPU_NAME(optim_need)
#define mot_cpu_past_need MOT_CPU_NAME(past_need)
#define mot_cpu_remember MOT_CPU_NAME(remember)
#define mot_cpu_rmsnorm MOT_CPU_NAME(rmsnorm)
#define mot_cpu_rmsnorm_back MOT_CPU_NAME(rmsnorm_back)
#define mot_cpu_rope MOT_CPU_NAME(rope)
#define mot_cpu_rope_back MOT_CPU_NAME(rope_back)
#define mot_cpu_rope_need MOT_CPU_NAME(rope_need)
#define mot_cpu_silu MOT_CPU_NAME(silu)
#define mot_cpu_silu_back MOT_CPU_NAME(silu_back)
#define mot_cpu_spread MOT_CPU_NAME(spread)
#define mot_cpu_spread_back MOT_CPU_NAME(spread_back)
#define mot_cpu_squared_error MOT_CPU_NAME(squared_error)
#define mot_cpu_sumsq MOT_CPU_NAME(sumsq)
#define mot_cpu_swiglu MOT_CPU_NAME(swiglu)
#define mot_cpu_swiglu_back MOT_CPU_NAME(swiglu_back)
#define mot_cpu_unfold MOT_CPU_NAME(unfold)
#define mot_cpu_unfold_back MOT_CPU_NAME(unfold_back)

#endif
