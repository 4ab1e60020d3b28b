/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* For LD_PRELOAD: lets the k-th system call of some kinds, on files whose path contains a text, fail, or ends the
 * process before or after it. Settings come from the environment:
 *   INTERPOSE_CALLS  names between commas: open write fsync close rename unlink mkdir
 *   INTERPOSE_MATCH  text that the path must contain
 *   INTERPOSE_AT     which call, from 1
 *   INTERPOSE_DO     an error number, "short" (half of a write), "kill" before, "kill_after", "sleep" for a minute
 *   INTERPOSE_FIRED  a file that is made when it happened */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int calls_seen;

static const char* setting(const char* name) {
  const char* value = getenv(name);
  return value == NULL ? "" : value;
}

static void end_process(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* What to do with this call: "" for nothing. */
static const char* chosen(const char* name, const char* path) {
  const char* list = setting("INTERPOSE_CALLS");
  const size_t length = strlen(name);
  int is_listed = 0;
  for (const char* word = list; *word != 0;) {
    const size_t size = strcspn(word, ",");
    if (size == length && strncmp(word, name, size) == 0) is_listed = 1;
    word += size + (word[size] == ',' ? 1 : 0);
  }
  if (!is_listed || path == NULL || strstr(path, setting("INTERPOSE_MATCH")) == NULL) return "";
  if (atomic_fetch_add(&calls_seen, 1) + 1 != atoi(setting("INTERPOSE_AT"))) return "";
  const long fired = syscall(SYS_openat, AT_FDCWD, setting("INTERPOSE_FIRED"), O_CREAT | O_WRONLY, 0600);
  if (fired >= 0) syscall(SYS_close, fired);
  const char* action = setting("INTERPOSE_DO");
  if (strcmp(action, "kill") == 0) end_process();
  if (strcmp(action, "sleep") == 0) sleep(60);
  return action;
}

static const char* path_of(int descriptor, char* memory) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, memory, PATH_MAX - 1);
  if (length < 0) return NULL;
  memory[length] = 0;
  return memory;
}

/* Sets errno and returns true if the call is to fail. */
static int fails(const char* action) {
  const int error = atoi(action);
  if (error == 0) return 0;
  errno = error;
  return 1;
}

static void after(const char* action) {
  if (strcmp(action, "kill_after") == 0) end_process();
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

typedef int (*open_function)(const char*, int, ...);

static int open_as(const char* symbol, const char* path, int flags, mode_t mode) {
  const open_function real = (open_function)dlsym(RTLD_NEXT, symbol);
  const char* action = chosen("open", path);
  if (fails(action)) return -1;
  const int result = real(path, flags, mode);
  after(action);
  return result;
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_as("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_as("open64", path, flags, mode);
}

ssize_t write(int descriptor, const void* bytes, size_t count) {
  REAL(write);
  char path[PATH_MAX];
  const char* action = chosen("write", path_of(descriptor, path));
  if (fails(action)) return -1;
  if (strcmp(action, "short") == 0) count = (count + 1) / 2;
  const ssize_t result = real(descriptor, bytes, count);
  after(action);
  return result;
}

int fsync(int descriptor) {
  REAL(fsync);
  char path[PATH_MAX];
  const char* action = chosen("fsync", path_of(descriptor, path));
  if (fails(action)) return -1;
  const int result = real(descriptor);
  after(action);
  return result;
}

int close(int descriptor) {
  REAL(close);
  char path[PATH_MAX];
  const char* action = chosen("close", path_of(descriptor, path));
  const int result = real(descriptor);
  if (fails(action)) return -1;
  after(action);
  return result;
}

int rename(const char* from, const char* to) {
  REAL(rename);
  const char* action = chosen("rename", to);
  if (fails(action)) return -1;
  const int result = real(from, to);
  after(action);
  return result;
}

int unlink(const char* path) {
  REAL(unlink);
  const char* action = chosen("unlink", path);
  if (fails(action)) return -1;
  const int result = real(path);
  after(action);
  return result;
}

int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  const char* action = chosen("mkdir", path);
  if (fails(action)) return -1;
  const int result = real(path, mode);
  after(action);
  return result;
}
