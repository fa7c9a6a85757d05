// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cduckdb.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic(cd_read_hook) read_hook;

// What the engine calls in the place of pread: the bytes are made sure of first.
static ssize_t hooked_pread(int fd, void *buffer, size_t count, off_t offset) {
  cd_read_hook hook = atomic_load_explicit(&read_hook, memory_order_acquire);
  struct stat info;
  if (hook && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && hook((uint64_t)info.st_dev, (uint64_t)info.st_ino, (int64_t)offset, count) != 0) {
    errno = EIO;
    return -1;
  }
  return pread(fd, buffer, count, offset);
}

void cd_set_read_hook(cd_read_hook hook) { atomic_store_explicit(&read_hook, hook, memory_order_release); }

#if defined(__x86_64__)
enum { jump_slot = R_X86_64_JUMP_SLOT, global_slot = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { jump_slot = R_AARCH64_JUMP_SLOT, global_slot = R_AARCH64_GLOB_DAT };
#else
enum { jump_slot = -1, global_slot = -1 };
#endif

// A page of the table may be read-only (RELRO); it is written once and left as it was found, as far as that is known.
static int put(void **slot, void *value) {
  long page = sysconf(_SC_PAGESIZE);
  void *start = (void *)((uintptr_t)slot & ~(uintptr_t)(page - 1));
  if (mprotect(start, (size_t)page, PROT_READ | PROT_WRITE) != 0) return -1;
  *slot = value;
  return 0;
}

static int patch(const struct link_map *map, const ElfW(Rela) *table, size_t size, const ElfW(Sym) *symbols, const char *names) {
  int found = 0;
  for (size_t i = 0; i < size / sizeof *table; i++) {
    int type = (int)ELF64_R_TYPE(table[i].r_info);
    if (type != jump_slot && type != global_slot) continue;
    const char *name = names + symbols[ELF64_R_SYM(table[i].r_info)].st_name;
    if (strcmp(name, "pread") != 0 && strcmp(name, "pread64") != 0) continue;
    if (put((void **)(map->l_addr + table[i].r_offset), (void *)hooked_pread) != 0) return 0;
    found++;
  }
  return found;
}

// Follows the library's own table of imported functions (ELF gABI, "Dynamic Linking"); nothing but this library's calls changes.
bool cd_intercept_reads(void *handle) {
  struct link_map *map = NULL;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || !map) return false;
  const ElfW(Rela) *calls = NULL, *others = NULL;
  const ElfW(Sym) *symbols = NULL;
  const char *names = NULL;
  size_t calls_size = 0, others_size = 0;
  bool has_addends = true;
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
    switch (entry->d_tag) {
      case DT_JMPREL: calls = (const void *)entry->d_un.d_ptr; break;
      case DT_PLTRELSZ: calls_size = entry->d_un.d_val; break;
      case DT_PLTREL: has_addends = entry->d_un.d_val == DT_RELA; break;
      case DT_RELA: others = (const void *)entry->d_un.d_ptr; break;
      case DT_RELASZ: others_size = entry->d_un.d_val; break;
      case DT_SYMTAB: symbols = (const void *)entry->d_un.d_ptr; break;
      case DT_STRTAB: names = (const void *)entry->d_un.d_ptr; break;
    }
  }
  if (!symbols || !names || !has_addends) return false;
  int found = 0;
  if (calls) found += patch(map, calls, calls_size, symbols, names);
  if (others) found += patch(map, others, others_size, symbols, names);
  return found > 0;
}
