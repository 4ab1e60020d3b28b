// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// check and explain as a person, an editor or a script calls them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/diagnostic_codes.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

std::vector<Json> lines_of(const std::string& output) {
  std::vector<Json> objects;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    Json object = Json::parse(line, nullptr, false);
    EXPECT_FALSE(object.is_discarded()) << line;
    objects.push_back(std::move(object));
  }
  return objects;
}

std::string model_file(const std::string& text) {
  const std::string path = make_folder("model") + "/m.fg";
  write_file(path, text);
  return path;
}

TEST(Check, SaysNothingAboutAModelThatIsRight) {
  // No data are there, and none are needed.
  const std::string whole = repository_path("examples/published-table/tensorflow.fg");
  // Neither is a train block.
  const std::string alone =
      model_file("model m {\n  input x: f32[B, 4]\n  loss = mean(dense(x, 1))\n}\n");
  for (const std::string& path : {whole, alone}) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"check", path}, {"check", path, "--json"}}) {
      ToolRun run = run_tool(arguments);
      EXPECT_EQ(run.exit_code, 0);
      EXPECT_EQ(run.output, "");
      EXPECT_EQ(run.errors, "");
    }
  }
  EXPECT_EQ(run_tool({"train", alone}).exit_code, 3);
}

TEST(Check, JsonHasEveryPartOfAMessage) {
  const std::string path = model_file(
      "model m {\n"
      "  input image: u8[B, 4]\n"
      "  input label: u8[B] in 0..10\n"
      "  loss = mean(cross_entropy(real(image), label))\n"
      "  metric a = mean(image)\n"
      "}\n");
  ToolRun run = run_tool({"check", path, "--json"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.errors, "");
  std::vector<Json> objects = lines_of(run.output);
  ASSERT_EQ(objects.size(), 2U) << run.output;
  const Json& range = objects[0];
  EXPECT_EQ(range["severity"], "error");
  EXPECT_EQ(range["code"], "E0207");
  EXPECT_EQ(range["message"], "`label` may be outside 0..4");
  EXPECT_EQ(range["file"], path);
  EXPECT_EQ(range["line"], 4);
  EXPECT_EQ(range["column"], 42);
  EXPECT_EQ(range["end_line"], 4);
  EXPECT_EQ(range["end_column"], 47);
  EXPECT_THAT(range["label"].get<std::string>(), HasSubstr("must lie in 0..4"));
  ASSERT_EQ(range["related"].size(), 1U);
  EXPECT_EQ(range["related"][0]["line"], 3);
  EXPECT_EQ(range["related"][0]["file"], path);
  EXPECT_EQ(range["related"][0]["message"], "may be anything in 0..10");
  EXPECT_THAT(range["notes"], IsEmpty());
  EXPECT_THAT(range["fixes"], ElementsAre("declare `input label: u8[B] in 0..4`"));
  EXPECT_EQ(objects[1]["code"], "E0401");
  EXPECT_THAT(objects[1]["notes"], ElementsAre("integers never become reals silently"));
}

TEST(Check, JsonHoldsWarningsAndTextsThatAreNotUtf8) {
  const std::string path =
      model_file("model m {\n  input x: f32[B, 4]\n  h = x\n  h = 2 * x\n  loss = mean(h)\n}\n");
  ToolRun warned = run_tool({"check", path, "--json"});
  EXPECT_EQ(warned.exit_code, 0);
  std::vector<Json> objects = lines_of(warned.output);
  ASSERT_EQ(objects.size(), 1U) << warned.output;
  EXPECT_EQ(objects[0]["severity"], "warning");
  EXPECT_EQ(objects[0]["code"], "W0111");

  write_file(path, "model m {\n  require false, \"\xFF\xC3\"\n  loss = \xFE\n}\n");
  ToolRun bytes = run_tool({"check", path, "--json"});
  EXPECT_EQ(bytes.exit_code, 3);
  EXPECT_FALSE(lines_of(bytes.output).empty());
}

TEST(Check, AFileThatIsMissingIsAMessageToo) {
  const std::string path = make_folder("none") + "/none.fg";
  ToolRun run = run_tool({"check", path, "--json"});
  EXPECT_EQ(run.exit_code, 3);
  std::vector<Json> objects = lines_of(run.output);
  ASSERT_EQ(objects.size(), 1U) << run.output;
  EXPECT_EQ(objects[0]["file"], path);
  EXPECT_THAT(objects[0]["message"].get<std::string>(), HasSubstr("none.fg"));
  EXPECT_FALSE(objects[0].contains("line"));
  EXPECT_EQ(run_tool({"check"}).exit_code, 2);
}

TEST(Check, ADerivativeThatDoesNotExistIsFound) {
  const frontend::DiagnosticCode* entry = frontend::find_diagnostic_code("E0503");
  ASSERT_NE(entry, nullptr);
  ToolRun wrong = run_tool({"check", model_file(std::string(entry->wrong))});
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_THAT(wrong.errors, HasSubstr("error[E0503]"));
  EXPECT_THAT(wrong.errors, HasSubstr("m.fg:5:"));
  ToolRun right = run_tool({"check", model_file(std::string(entry->right))});
  EXPECT_EQ(right.exit_code, 0) << right.errors;
}

TEST(Check, ValuesOfTheCommandLineAreChecked) {
  const std::string path =
      model_file("const K = 3\nmodel m {\n  input x: f32[B, 4]\n  loss = mean(dense(x, K))\n}\n");
  EXPECT_EQ(run_tool({"check", path, "-D", "K=5"}).exit_code, 0);
  ToolRun unknown = run_tool({"check", path, "-D", "H=5"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.errors, HasSubstr("error[E0709]: the model file has no constant `H`"));
  ToolRun two = run_tool({"check", path, "-D", "K=5 const L = 6"});
  EXPECT_EQ(two.exit_code, 3);
  EXPECT_THAT(two.errors, HasSubstr("error[E0709]: cannot read the value of `K`"));
}

TEST(Explain, PrintsACode) {
  ToolRun run = run_tool({"explain", "E0203"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.output, frontend::explain(*frontend::find_diagnostic_code("E0203")));
  EXPECT_EQ(run_tool({"explain", "e0203"}).output, run.output);
  EXPECT_EQ(run_tool({"explain", "--all"}).output, frontend::explain_all());
}

TEST(Explain, OffersCodesLikeAnUnknownOne) {
  ToolRun run = run_tool({"explain", "E0214"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.output, "");
  EXPECT_THAT(run.errors,
              HasSubstr("error: there is no code `E0214`\n  the nearest: E0213, E0212, E0211\n"));
  ToolRun nonsense = run_tool({"explain", "nonsense"});
  EXPECT_EQ(nonsense.exit_code, 2);
  EXPECT_THAT(nonsense.errors, Not(HasSubstr("the nearest")));
  EXPECT_EQ(run_tool({"explain"}).exit_code, 2);
}

}  // namespace
}  // namespace fusegrad::test
