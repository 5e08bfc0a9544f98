// SPDX-License-Identifier: Apache-2.0
// A library of one custom operator, `tritongw.test::Twice`, for the tests of B009. They compile it
// themselves: ONNX Runtime's packages bring no header, so the few functions that it needs are named
// by their positions in the function table, which are part of the ABI.
#include <stddef.h>
#include <stdint.h>

enum { FLOAT = 1, REQUIRED = 0, API_VERSION = 17 };

// `OrtApiBase` and as much of `OrtCustomOp` as an operator of version 8 has.
struct api_base {
  void *const *(*get_api)(uint32_t version);
};
struct custom_op {
  uint32_t version;
  void *(*create_kernel)(const struct custom_op *, const void *api, const void *info);
  const char *(*name)(const struct custom_op *);
  const char *(*execution_provider)(const struct custom_op *);
  int (*input_type)(const struct custom_op *, size_t index);
  size_t (*input_count)(const struct custom_op *);
  int (*output_type)(const struct custom_op *, size_t index);
  size_t (*output_count)(const struct custom_op *);
  void (*compute)(void *kernel, void *context);
  void (*destroy)(void *kernel);
  int (*input_characteristic)(const struct custom_op *, size_t index);
  int (*output_characteristic)(const struct custom_op *, size_t index);
};

static void *const *api;

// Calls the function at a position of the table; its status is looked at by nobody.
#define CALL(position, arguments, ...) ((void *(*)arguments)api[position])(__VA_ARGS__)

static void *create_kernel(const struct custom_op *op, const void *table, const void *info) {
  (void)table, (void)info;
  return (void *)op;
}
static const char *name(const struct custom_op *op) { return (void)op, "Twice"; }
static const char *any_provider(const struct custom_op *op) { return (void)op, NULL; }
static int type(const struct custom_op *op, size_t index) { return (void)op, (void)index, FLOAT; }
static size_t one(const struct custom_op *op) { return (void)op, (size_t)1; }
static int required(const struct custom_op *op, size_t index) {
  return (void)op, (void)index, REQUIRED;
}
static void destroy(void *kernel) { (void)kernel; }

static void compute(void *kernel, void *context) {
  (void)kernel;
  const void *input = NULL;
  void *output = NULL, *info = NULL;
  size_t rank = 0, count = 0;
  int64_t dims[8] = {0};
  const float *from = NULL;
  float *to = NULL;
  CALL(90, (const void *, size_t, const void **), context, 0, &input);
  CALL(65, (const void *, void **), input, &info);
  CALL(61, (const void *, size_t *), info, &rank);
  CALL(62, (const void *, int64_t *, size_t), info, dims, rank);
  CALL(64, (const void *, size_t *), info, &count);
  ((void (*)(void *))api[99])(info);
  CALL(91, (void *, size_t, const int64_t *, size_t, void **), context, 0, dims, rank, &output);
  CALL(51, (const void *, const float **), input, &from);
  CALL(51, (void *, float **), output, &to);
  for (size_t i = 0; i < count; i++) to[i] = 2 * from[i];
}

static const struct custom_op twice = {8,   create_kernel, name,    any_provider, type,     one,
                                       type, one,          compute, destroy,      required, required};

// What ONNX Runtime looks for in a library of custom operators.
void *RegisterCustomOps(void *options, const struct api_base *base) {
  static void *domain;  // One for the life of the process: sessions refer to it.
  api = base->get_api(API_VERSION);
  if (domain == NULL) {
    CALL(26, (const char *, void **), "tritongw.test", &domain);
    CALL(27, (void *, const struct custom_op *), domain, &twice);
  }
  return CALL(28, (void *, void *), options, domain);
}
