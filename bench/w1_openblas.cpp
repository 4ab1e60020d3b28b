// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The peer of W1 as a program with the options of `fusegrad train`, so that both are run and timed
// alike.
#include <cblas.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "bench/idx_images.h"
#include "bench/openblas_softmax.h"

int main(int argc, char** argv) {
  using namespace fusegrad::bench;
  std::string data_folder;
  std::string log_path;
  int threads = 1;
  int epochs = 1;
  CLI::App app("softmax regression in C++ on OpenBLAS");
  app.add_option("--data", data_folder, "folder of the IDX files")->required();
  app.add_option("--log-json", log_path, "file for one JSON object a line")->required();
  app.add_option("--threads", threads);
  app.add_option("--epochs", epochs);
  CLI11_PARSE(app, argc, argv);

  openblas_set_num_threads(threads);
  const auto data = read_idx_images(data_folder);
  if (!data) {
    fmt::print(stderr, "cannot read {}/{} or its labels\n", data_folder, images_file_name);
    return 4;
  }
  std::FILE* log = std::fopen(log_path.c_str(), "w");
  if (log == nullptr) {
    fmt::print(stderr, "cannot write {}\n", log_path);
    return 2;
  }
  fmt::print(log, "{{\"event\":\"library\",\"name\":\"{}\",\"core\":\"{}\"}}\n",
             openblas_get_config(), openblas_get_corename());

  OpenblasSoftmax model(*data, 0.5f);
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const auto begin = std::chrono::steady_clock::now();
    const EpochMeans means = model.train_epoch();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    fmt::print(log,
               "{{\"event\":\"epoch\",\"epoch\":{},\"loss\":{},\"metrics\":{{\"accuracy\":{}}},"
               "\"seconds\":{}}}\n",
               epoch, means.loss, means.accuracy, seconds);
  }
  return std::fclose(log) == 0 ? 0 : 2;
}
