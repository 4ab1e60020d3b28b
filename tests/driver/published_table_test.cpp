// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The published results: 20 epochs of this regression in Keras on a CPU and TensorFlow on a GPU,
// row by row.
#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

struct Row {
  std::map<std::string, double> columns;
};

std::vector<Row> published_rows() {
  std::stringstream text(read_file(repository_path("tests/driver/published-table.csv")));
  std::string line;
  std::getline(text, line);
  std::vector<std::string> names;
  std::stringstream header(line);
  for (std::string name; std::getline(header, name, ',');) names.push_back(name);
  std::vector<Row> rows;
  while (std::getline(text, line)) {
    std::stringstream cells(line);
    Row row;
    size_t column = 0;
    for (std::string cell; std::getline(cells, cell, ',');) {
      double value = NAN;
      std::from_chars(cell.data(), cell.data() + cell.size(), value);
      row.columns[names.at(column++)] = value;
    }
    rows.push_back(row);
  }
  return rows;
}

void compare(const std::string& model, const std::string& prefix) {
  const char* data = std::getenv("FUSEGRAD_TEST_DATA");
  if (data == nullptr || *data == '\0')
    GTEST_SKIP() << "FUSEGRAD_TEST_DATA is not set: no MNIST to train on";
  std::string folder = std::string(data) + "/mnist";
  ASSERT_TRUE(std::filesystem::is_directory(folder))
      << folder << ": FUSEGRAD_TEST_DATA is set but unusable";
  std::string log = make_folder("log") + "/log.jsonl";
  ToolRun run = run_tool({"train", repository_path("examples/published-table/" + model), "--data",
                          folder, "--log-json", log});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  std::vector<Row> rows = published_rows();
  ASSERT_EQ(rows.size(), 20U);
  size_t epoch = 0;
  std::stringstream events(read_file(log));
  for (std::string line; std::getline(events, line);) {
    nlohmann::json event = nlohmann::json::parse(line);
    if (event["event"] != "epoch") continue;
    ASSERT_LT(epoch, rows.size());
    auto near = [&](double ours, const std::string& column, double tolerance) {
      double published = rows[epoch].columns.at(prefix + column);
      EXPECT_TRUE(std::abs(ours - published) <= tolerance)
          << "epoch " << epoch + 1 << " " << column << ": " << ours << ", published " << published;
    };
    near(event["loss"], "_loss", 1e-4);
    near(event["metrics"]["accuracy"], "_acc", 2e-4);
    near(event["val_loss"], "_val_loss", 3e-4);
    near(event["val_metrics"]["accuracy"], "_val_acc", 5e-4);
    ++epoch;
  }
  EXPECT_EQ(epoch, rows.size());
}

TEST(PublishedTable, Keras) { compare("keras.fg", "keras"); }
TEST(PublishedTable, TensorFlow) { compare("tensorflow.fg", "tf"); }

}  // namespace
}  // namespace fusegrad::test
