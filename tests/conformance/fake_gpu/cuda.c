// SPDX-License-Identifier: Apache-2.0
// A stand-in for libcuda.so.1, for machines without a GPU.
//
// FAKE_GPUS lists the compute capabilities of the GPUs there are, "9.0,7.0". What lies in the memory
// of a GPU is stored with its bits flipped, so that whoever reads it without the driver reads
// something else; and as with a real GPU nothing works without the right context. An allocation is a
// memfd, which other processes open by the number that stands in its IPC handle.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201 };
enum { MAX_GPUS = 8, MAX_DEPTH = 16, MAX_BLOCKS = 256 };

typedef struct { int device; } Context;

typedef struct {
  uint8_t *address;
  size_t byte_size;
  int device;
  int fd;
  int is_open;  // of another process
} Block;

typedef union {
  char bytes[64];
  struct {
    uint64_t byte_size;
    int process, fd, device;
  };
} Handle;

static Context contexts[MAX_GPUS] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
static _Thread_local Context *stack[MAX_DEPTH];
static _Thread_local int depth;
static Block blocks[MAX_BLOCKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int capabilities[MAX_GPUS][2];
static int device_count;

static Context *current(void) { return depth > 0 ? stack[depth - 1] : NULL; }

int cuInit(unsigned flags) {
  const char *list = getenv("FAKE_GPUS");
  int used = 0;
  (void)flags;
  device_count = 0;
  while (list && device_count < MAX_GPUS &&
         sscanf(list, "%d.%d%n", &capabilities[device_count][0], &capabilities[device_count][1], &used) == 2) {
    device_count++;
    list += used;
    list += *list == ',';
  }
  return device_count > 0 ? SUCCESS : NO_DEVICE;
}

int cuGetErrorString(int error, const char **text) {
  *text = error == INVALID_CONTEXT ? "invalid device context" : error == INVALID_VALUE ? "invalid argument" : NULL;
  return *text ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetCount(int *count) {
  *count = device_count;
  return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
  if (ordinal < 0 || ordinal >= device_count) return INVALID_DEVICE;
  *device = ordinal;
  return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, (size_t)size, "Fake GPU %d", device);
  return SUCCESS;
}

int cuDeviceGetUuid_v2(uint8_t *uuid, int device) {
  memset(uuid, 0xfa, 16);
  uuid[15] = (uint8_t)device;
  return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  if (attribute != 75 && attribute != 76) return INVALID_VALUE;
  *value = capabilities[device][attribute - 75];
  return SUCCESS;
}

int cuDevicePrimaryCtxRetain(Context **context, int device) {
  if (device < 0 || device >= device_count) return INVALID_DEVICE;
  *context = &contexts[device];
  return SUCCESS;
}

int cuCtxPushCurrent_v2(Context *context) {
  if (depth == MAX_DEPTH) return OUT_OF_MEMORY;
  stack[depth++] = context;
  return SUCCESS;
}

int cuCtxPopCurrent_v2(Context **context) {
  if (depth == 0) return INVALID_CONTEXT;
  *context = stack[--depth];
  return SUCCESS;
}

// Returns the allocation in which a range lies, if the context is that of its GPU.
static Block *find(const uint8_t *address, size_t byte_size, int *error) {
  Block *found = NULL;
  if (!current()) {
    *error = INVALID_CONTEXT;
    return NULL;
  }
  pthread_mutex_lock(&lock);
  *error = INVALID_VALUE;
  for (Block *block = blocks; block < blocks + MAX_BLOCKS; block++) {
    size_t offset = (size_t)(address - block->address);
    if (block->address && address >= block->address && offset <= block->byte_size &&
        byte_size <= block->byte_size - offset) {
      *error = block->device == current()->device ? SUCCESS : INVALID_CONTEXT;
      found = *error == SUCCESS ? block : NULL;
    }
  }
  pthread_mutex_unlock(&lock);
  return found;
}

static int map(uint8_t **address, size_t byte_size, int fd, int is_open) {
  uint8_t *memory = mmap(NULL, byte_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int error = OUT_OF_MEMORY;
  pthread_mutex_lock(&lock);
  for (Block *block = blocks; memory != MAP_FAILED && error && block < blocks + MAX_BLOCKS; block++) {
    if (!block->address) {
      *block = (Block){memory, byte_size, current()->device, fd, is_open};
      *address = memory;
      error = SUCCESS;
    }
  }
  pthread_mutex_unlock(&lock);
  return error;
}

static int unmap(uint8_t *address, int is_open) {
  int error = SUCCESS;
  Block *block = find(address, 0, &error);
  if (!block) return error;
  if (block->address != address || block->is_open != is_open) return INVALID_VALUE;
  pthread_mutex_lock(&lock);
  munmap(block->address, block->byte_size);
  close(block->fd);
  *block = (Block){0};
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}

static void flip(uint8_t *target, const uint8_t *source, size_t byte_size) {
  for (size_t i = 0; i < byte_size; i++) target[i] = (uint8_t)~source[i];
}

int cuMemAlloc_v2(uint8_t **address, size_t byte_size) {
  if (!current()) return INVALID_CONTEXT;
  int fd = memfd_create("fake-gpu", MFD_CLOEXEC);
  if (byte_size == 0 || fd < 0 || ftruncate(fd, (off_t)byte_size) != 0) return OUT_OF_MEMORY;
  return map(address, byte_size, fd, 0);
}

int cuMemFree_v2(uint8_t *address) { return unmap(address, 0); }

int cuMemGetAddressRange_v2(uint8_t **start, size_t *byte_size, uint8_t *address) {
  int error = SUCCESS;
  Block *block = find(address, 0, &error);
  if (block) {
    *start = block->address;
    *byte_size = block->byte_size;
  }
  return error;
}

int cuIpcGetMemHandle(Handle *handle, uint8_t *address) {
  int error = SUCCESS;
  Block *block = find(address, 0, &error);
  if (block) {
    memset(handle, 0, sizeof *handle);
    handle->byte_size = block->byte_size;
    handle->process = getpid();
    handle->fd = block->fd;
    handle->device = block->device;
  }
  return error;
}

int cuIpcOpenMemHandle_v2(uint8_t **address, Handle handle, unsigned flags) {
  char path[64];
  if (!current() || handle.device != current()->device) return INVALID_CONTEXT;
  if (handle.byte_size == 0 || handle.process == getpid() || flags != 1) return INVALID_VALUE;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", handle.process, handle.fd);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  return fd < 0 ? INVALID_VALUE : map(address, handle.byte_size, fd, 1);
}

int cuIpcCloseMemHandle(uint8_t *address) { return unmap(address, 1); }

int cuMemcpyHtoD_v2(uint8_t *target, const void *source, size_t byte_size) {
  int error = SUCCESS;
  if (find(target, byte_size, &error)) flip(target, source, byte_size);
  return error;
}

int cuMemcpyDtoH_v2(void *target, const uint8_t *source, size_t byte_size) {
  int error = SUCCESS;
  if (find(source, byte_size, &error)) flip(target, source, byte_size);
  return error;
}

// There is one thing after another here: every stream has always come to its end.
int cuStreamSynchronize(void *stream) {
  (void)stream;
  return current() ? SUCCESS : INVALID_CONTEXT;
}

int cuEventCreate(void **event, unsigned flags) {
  (void)flags;
  *event = malloc(1);
  return current() ? SUCCESS : INVALID_CONTEXT;
}

int cuEventRecord(void *event, void *stream) {
  return event && stream == (void *)1 ? SUCCESS : INVALID_VALUE;
}

int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
  return event && stream && flags == 0 ? SUCCESS : INVALID_VALUE;
}

int cuEventDestroy_v2(void *event) {
  free(event);
  return SUCCESS;
}
