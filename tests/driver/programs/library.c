/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A program in C that trains a model of a library, as docs/shipping.md shows it, and then does everything wrong.
 * Arguments: IMAGES LABELS COUNT WEIGHTS */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "softmax.h"

static int failures;

static void expect(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "not so: %s\n", what);
  ++failures;
}

static unsigned char *read_records(const char *path, long header, long size) {
  FILE *file = fopen(path, "rb");
  unsigned char *bytes = malloc((size_t)size);
  if (file == NULL || bytes == NULL || fseek(file, header, SEEK_SET) != 0 ||
      fread(bytes, 1, (size_t)size, file) != (size_t)size) {
    exit(9);
  }
  fclose(file);
  return bytes;
}

struct job {
  softmax_regression_inputs data;
  int64_t count;
  const char *weights;
  softmax_regression_metrics metrics;
};

static void *train(void *argument) {
  struct job *job = argument;
  softmax_regression *model = softmax_regression_create(2, 3);
  int epoch;
  if (model == NULL) exit(8);
  for (epoch = 0; epoch < 2; ++epoch) {
    expect(softmax_regression_train_epoch(model, &job->data, job->count, &job->metrics) == 0, "epoch");
  }
  expect(softmax_regression_save(model, job->weights) == 0, softmax_regression_last_error(model));
  softmax_regression_destroy(model);
  return NULL;
}

static void mistakes(const struct job *job) {
  softmax_regression *model = softmax_regression_create(1, 3);
  softmax_regression_inputs data = job->data;
  uint8_t wrong[5] = {1, 2, 3, 10, 4};
  double loss = -1;
  softmax_regression_outputs outputs = {NULL};
  expect(softmax_regression_create(-1, 0) == NULL, "threads");
  expect(strstr(softmax_regression_last_error(NULL), "-1 threads") != NULL, "its message");
  expect(softmax_regression_create(1, -1) == NULL, "seed");
  expect(softmax_regression_train_step(NULL, &data, 5, &loss) == 2, "no model");
  expect(softmax_regression_train_step(model, NULL, 5, &loss) == 2, "no inputs");
  expect(softmax_regression_train_step(model, &data, 0, &loss) == 2, "no rows");
  expect(softmax_regression_train_step(model, &data, softmax_regression_BATCH + 1, &loss) == 2, "rows");
  expect(strstr(softmax_regression_last_error(model), "at most the batch") != NULL, "its message");
  data.label = NULL;
  expect(softmax_regression_evaluate(model, &data, 5, NULL) == 2, "no labels");
  data.label = wrong;
  expect(softmax_regression_train_step(model, &data, 5, &loss) == 4, "label 10");
  expect(strstr(softmax_regression_last_error(model), "outside 0..10") != NULL, "its message");
  expect(softmax_regression_predict(model, &data, 5, NULL) == 2, "no outputs");
  expect(softmax_regression_predict(model, &data, 5, &outputs) == 2, "no output");
  expect(softmax_regression_load(model, "/none") == 7, "no file");
  expect(softmax_regression_load(model, NULL) == 2, "no path");
  expect(softmax_regression_save(model, "/none/w") == 7, "no folder");
  expect(softmax_regression_set_learning_rate(model, 1e300) == 2, "rate");
  expect(softmax_regression_set_total_steps(model, 0) == 2, "steps");
  /* None of this did any harm. */
  expect(softmax_regression_train_step(model, &job->data, 5, &loss) == 0, "a step");
  expect(loss > 0 && loss < 10, "its loss");
  expect(softmax_regression_last_error(model)[0] == 0, "no error");
  softmax_regression_destroy(model);
  softmax_regression_destroy(NULL);
}

int main(int argument_count, char **arguments) {
  struct job jobs[2];
  char second[1000];
  pthread_t threads[2];
  int i;
  if (argument_count != 5 || softmax_regression_abi_version() != softmax_regression_ABI_VERSION) return 7;
  jobs[0].count = atol(arguments[3]);
  jobs[0].data.image = read_records(arguments[1], 16, jobs[0].count * 784);
  jobs[0].data.label = read_records(arguments[2], 8, jobs[0].count);
  jobs[0].weights = arguments[4];
  jobs[1] = jobs[0];
  snprintf(second, sizeof second, "%s.second", arguments[4]);
  jobs[1].weights = second;
  for (i = 0; i < 2; ++i) {
    if (pthread_create(&threads[i], NULL, train, &jobs[i]) != 0) return 6;
  }
  for (i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  printf("%.17g %.17g\n", jobs[0].metrics.loss, jobs[0].metrics.accuracy);

  {
    /* Load, evaluate, predict, train on by hand. */
    softmax_regression *model = softmax_regression_create(0, 3);
    softmax_regression_metrics metrics;
    softmax_regression_inputs images = jobs[0].data;
    softmax_regression_outputs outputs;
    double loss = 0;
    double before;
    int64_t right = 0;
    int64_t row;
    outputs.logits = malloc((size_t)jobs[0].count * 10 * sizeof(float));
    if (model == NULL || outputs.logits == NULL) return 5;
    expect(softmax_regression_load(model, arguments[4]) == 0, softmax_regression_last_error(model));
    expect(softmax_regression_evaluate(model, &jobs[0].data, jobs[0].count, &metrics) == 0, "evaluate");
    images.label = NULL;
    expect(softmax_regression_predict(model, &images, jobs[0].count, &outputs) == 0, "predict");
    for (row = 0; row < jobs[0].count; ++row) {
      int best = 0;
      int k;
      for (k = 1; k < 10; ++k) {
        if (outputs.logits[row * 10 + k] > outputs.logits[row * 10 + best]) best = k;
      }
      right += best == jobs[0].data.label[row];
    }
    expect((double)right / (double)jobs[0].count - metrics.accuracy < 1e-6, "accuracy");
    printf("%.17g %.17g\n", metrics.loss, metrics.accuracy);
    before = metrics.loss;
    expect(softmax_regression_set_learning_rate(model, 0.1) == 0, "rate");
    for (i = 0; i < 20; ++i) {
      expect(softmax_regression_train_step(model, &jobs[0].data, 100, &loss) == 0, "step");
    }
    expect(softmax_regression_evaluate(model, &jobs[0].data, 100, &metrics) == 0, "evaluate");
    expect(loss < before && metrics.loss < before, "less loss");
    softmax_regression_destroy(model);
    free(outputs.logits);
  }
  mistakes(&jobs[0]);
  for (i = 0; i < 200; ++i) {
    softmax_regression *model = softmax_regression_create(2, i);
    double loss;
    expect(softmax_regression_train_step(model, &jobs[0].data, 100, &loss) == 0, "step");
    softmax_regression_destroy(model);
  }
  free((void *)jobs[0].data.image);
  free((void *)jobs[0].data.label);
  return failures == 0 ? 0 : 1;
}
