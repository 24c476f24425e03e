/* A QEMU plugin that counts the guest's instructions: built and loaded by arm_instructions.py.
 *
 * It prints one line for every clock_gettime system call, "<calls so far> <instructions so far>".
 * A program that times its phases with the clock so tells how many instructions each took, without
 * being changed for it. For one thread; a block of instructions counts whole when it is entered.
 *
 * Only what is used here of QEMU's plugin interface, version 1, is declared: distributions do not
 * ship its header.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                                  void (*callback)(plugin_id,
                                                                   struct qemu_plugin_tb*));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb* tb, int operation,
                                                     void* counter, uint64_t addend);
extern void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*callback)(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t,
                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_outs(const char* text);

enum { kAddU64 = 0, kClockGettime = 113 /* on aarch64 */ };

EXPORT int qemu_plugin_version = 1;

static uint64_t instructions;
static uint64_t calls;

static void translated(plugin_id id, struct qemu_plugin_tb* tb) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, kAddU64, &instructions, qemu_plugin_tb_n_insns(tb));
}

static void system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2,
                        uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                        uint64_t a8) {
  (void)id, (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7,
      (void)a8;
  if (number != kClockGettime) return;
  char line[64];
  snprintf(line, sizeof line, "%" PRIu64 " %" PRIu64 "\n", ++calls, instructions);
  qemu_plugin_outs(line);
}

EXPORT int qemu_plugin_install(plugin_id id, const void* info, int argc, char** argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_call);
  return 0;
}
