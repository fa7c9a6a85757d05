// SPDX-License-Identifier: Apache-2.0
// Calls that Swift cannot express on Linux: _GNU_SOURCE functions, variadics, and macros.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Names the calling thread (at most 15 bytes are kept).
void ps_set_thread_name(const char *name);
/// Asks the kernel to send `signal` to this process when its parent thread ends. Returns 0 or errno.
int ps_set_parent_death_signal(int signal);
/// Makes descendants that lose their parent children of this process. Returns 0 or errno.
int ps_set_child_subreaper(void);
/// An eventfd (close-on-exec, non-blocking), or -errno.
int ps_eventfd(void);
/// Flushes both C output streams and makes stdout line buffered.
void ps_line_buffer_stdout(void);
/// Opens (creating when `create`) a shared memory file and maps `size` bytes. Returns NULL and sets *error to errno.
void *ps_shared_memory_open(const char *name, size_t size, int create, int *error);
void ps_shared_memory_unlink(const char *name);
/// Forks and executes argv[0] in a new process group with stdin/stdout/stderr replaced by the given descriptors
/// (-1: /dev/null), every other descriptor closed, and `death_signal` sent when the parent thread ends (0: none).
/// `uid`/`gid` other than (uint32_t)-1 are taken (with their supplementary groups cleared) before exec. Returns pid or -errno.
pid_t ps_spawn(const char *const *argv, const char *const *envp, const char *directory, int in_fd, int out_fd, int err_fd,
               int death_signal, uint32_t uid, uint32_t gid);
/// Resident set size of `pid` in bytes, or -1.
int64_t ps_resident_bytes(pid_t pid);
/// Renames `from` to `to` only when `to` does not exist (link + unlink, safe on NFS). Returns 0 or errno.
int ps_rename_exclusive(const char *from, const char *to);
/// Makes the names `a` and `b` change places in one step; both must exist, on one file system. Returns 0 or errno: EINVAL or
/// ENOSYS where the file system or the kernel cannot.
int ps_rename_exchange(const char *a, const char *b);
/// Has the system begin to write a file's bytes to the disk, without waiting. Promises nothing: fsync does.
void ps_start_writing(int fd);
