/* SPDX-License-Identifier: MIT
 *
 * switch.h - from one stack to another.  ucontext's calls change the signal mask too, which takes a
 * system call, and longjmp makes the address sanitizer clear the stack's shadow each time: both too
 * slow for as many switches as a kernel on the host needs, so there is code for common processors.
 */
#ifndef MOT_SHIM_SWITCH_H
#define MOT_SHIM_SWITCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Leave this stack, with *from to come back by, for another one. */
extern "C" void shim_switch(void **from, void *to);

#if defined __x86_64__

asm(".text\n"
    ".globl shim_switch\n"
    ".type shim_switch, @function\n"
    "shim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size shim_switch, . - shim_switch\n"
    ".section .note.GNU-stack, \"\", @progbits\n"
    ".text\n");

/* A stack on which live() begins; it never returns. */
static void *prepare_stack(char *stack, size_t size, void (*live)())
{
    void **top = (void **)(void *)(stack + size); /* aligned to a page */
    memset(top - 8, 0, 8 * sizeof *top);
    memcpy(top - 2, &live, sizeof live); /* where the first switch returns to; six registers before it */
    return top - 8;
}

#elif defined __aarch64__

asm(".text\n"
    ".globl shim_switch\n"
    ".type shim_switch, %function\n"
    "shim_switch:\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
    "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
    "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n"
    ".size shim_switch, . - shim_switch\n"
    ".section .note.GNU-stack, \"\", %progbits\n"
    ".text\n");

static void *prepare_stack(char *stack, size_t size, void (*live)())
{
    char *to = stack + size - 160;
    memset(to, 0, 160);
    memcpy(to + 88, &live, sizeof live); /* x30 */
    return to;
}

#else
#include <ucontext.h>

extern "C" void shim_switch(void **from, void *to)
{
    ucontext_t here;
    *from = &here;
    swapcontext(&here, (ucontext_t *)to);
}

static void *prepare_stack(char *stack, size_t size, void (*live)())
{
    ucontext_t *first = (ucontext_t *)(void *)(stack + size - (sizeof *first + 63) / 64 * 64);
    getcontext(first);
    first->uc_stack.ss_sp = stack;
    first->uc_stack.ss_size = (size_t)((char *)first - stack);
    makecontext(first, live, 0);
    return first;
}

#endif
#endif
