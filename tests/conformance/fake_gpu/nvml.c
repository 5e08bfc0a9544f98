// SPDX-License-Identifier: Apache-2.0
// A stand-in for libnvidia-ml.so.1: numbers that tell one GPU, and one question, from another.
//
// FAKE_GPUS_MUTE makes a GPU tell nothing but its memory, as some do.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static const char UUID[] = "GPU-fafafafa-fafa-fafa-fafa-fafafafafa00";
static uint64_t energy[8];

static uintptr_t number(void *device) { return (uintptr_t)device - 1; }

static int is_mute(void) { return getenv("FAKE_GPUS_MUTE") != NULL; }

int nvmlInit_v2(void) { return SUCCESS; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  size_t length = sizeof UUID - 2;
  if (strncmp(uuid, UUID, length) != 0) return NOT_FOUND;
  *device = (void *)(uintptr_t)(uuid[length] - '0' + 1);
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
  if (is_mute()) return NOT_SUPPORTED;
  rates[0] = 25 + (unsigned)number(device);
  rates[1] = 99;
  return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, uint64_t *bytes) {
  bytes[0] = (uint64_t)80 << 30;
  bytes[1] = (uint64_t)79 << 30;
  bytes[2] = ((uint64_t)1 << 30) + number(device);
  return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
  if (is_mute()) return NOT_SUPPORTED;
  *milliwatts = 70500 + 1000 * (unsigned)number(device);
  return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimit(void *device, unsigned *milliwatts) {
  if (is_mute()) return NOT_SUPPORTED;
  *milliwatts = 700000 + 1000 * (unsigned)number(device);
  return SUCCESS;
}

// Grows by 1.5 J with each question; what was used before the first does not count.
int nvmlDeviceGetTotalEnergyConsumption(void *device, uint64_t *millijoules) {
  if (is_mute()) return NOT_SUPPORTED;
  energy[number(device)] += 1500;
  *millijoules = 1000000000 + energy[number(device)];
  return SUCCESS;
}
