// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parser and the printer together: what is read prints as canonical text, and that text reads
// as the same tree.
#include "frontend/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/ast_print.h"

namespace fusegrad::frontend {
namespace {

using ::testing::ElementsAre;

struct Parsed {
  SourceManager sources;
  Diagnostics diagnostics;
  ast::File file;

  explicit Parsed(std::string text) {
    uint32_t number = sources.add("t.fg", std::move(text));
    file = parse(sources, number, diagnostics);
  }
  std::string errors() const { return render(diagnostics, sources); }
  std::string text(Span span) const { return std::string(sources.text(span)); }
};

// The canonical text of a file that must be free of errors and must print to a fixed point.
std::string canonical(const std::string& source) {
  Parsed first(source);
  EXPECT_EQ(first.errors(), "") << source;
  std::string printed = print(first.file);
  Parsed second(printed);
  EXPECT_EQ(second.errors(), "") << printed;
  EXPECT_EQ(print(second.file), printed);
  return printed;
}

// One expression, as the value of a constant.
std::string expression(const std::string& source) {
  std::string printed = canonical("const a = " + source);
  EXPECT_EQ(printed.substr(0, 10), "const a = ");
  return printed.substr(10, printed.size() - 11);
}

// What is inside a layer, without the indentation of the first level.
std::string statements(const std::string& source,
                       const std::string& block = "layer f() -> y: real[]") {
  std::string printed = canonical(block + " {\n" + source + "\n}");
  std::string head = block + " {\n";
  EXPECT_EQ(printed.substr(0, head.size()), head);
  std::stringstream lines(printed.substr(head.size(), printed.size() - head.size() - 2));
  std::string out;
  for (std::string line; std::getline(lines, line);)
    out += (out.empty() ? "" : "\n") + line.substr(2);
  return out;
}

const ast::Expression& constant_of(const Parsed& parsed) {
  return std::get<ast::Constant>(parsed.file.items.at(0)).value;
}

// ----------------------------------------------------------------------------------------------
// expressions

TEST(ParserExpressions, KeepsOnlyTheParenthesesThatPrecedenceNeeds) {
  EXPECT_EQ(expression("((a) + ((b * c)))"), "a + b * c");
  EXPECT_EQ(expression("(a + b) * c"), "(a + b) * c");
  EXPECT_EQ(expression("a - (b - c)"), "a - (b - c)");
  EXPECT_EQ(expression("(a - b) - c"), "a - b - c");
  EXPECT_EQ(expression("a / (b * c)"), "a / (b * c)");
  EXPECT_EQ(expression("a // b % c"), "a // b % c");
  EXPECT_EQ(expression("a % (b // c)"), "a % (b // c)");
  EXPECT_EQ(expression("not (a and b)"), "not (a and b)");
  EXPECT_EQ(expression("(not a) and b"), "not a and b");
  EXPECT_EQ(expression("(a or b) and c"), "(a or b) and c");
  EXPECT_EQ(expression("a or (b and c)"), "a or b and c");
  EXPECT_EQ(expression("not not a"), "not not a");
  EXPECT_EQ(expression("(a < b) == (c < d)"), "(a < b) == (c < d)");
  EXPECT_EQ(expression("a + (b < c)"), "a + (b < c)");
  EXPECT_EQ(expression("not (a < b)"), "not a < b");
}

TEST(ParserExpressions, PowersAndSigns) {
  EXPECT_EQ(expression("-x ^ 2"), "-x ^ 2");
  EXPECT_EQ(expression("(-x) ^ 2"), "(-x) ^ 2");
  EXPECT_EQ(expression("-(x ^ 2)"), "-x ^ 2");
  EXPECT_EQ(expression("2 ^ -x"), "2 ^ -x");
  EXPECT_EQ(expression("a ^ b ^ c"), "a ^ b ^ c");
  EXPECT_EQ(expression("(a ^ b) ^ c"), "(a ^ b) ^ c");
  EXPECT_EQ(expression("-a * b"), "-a * b");
  EXPECT_EQ(expression("-(a * b)"), "-(a * b)");
  EXPECT_EQ(expression("a - -b"), "a - -b");
  EXPECT_EQ(expression("--a"), "--a");

  Parsed parsed("const a = -x ^ 2");  // -(x ^ 2)
  EXPECT_EQ(constant_of(parsed).kind, ast::ExpressionKind::negate);
  Parsed right("const a = a ^ b ^ c");  // a ^ (b ^ c)
  EXPECT_EQ(constant_of(right).operands[0].kind, ast::ExpressionKind::name);
}

TEST(ParserExpressions, Conditionals) {
  EXPECT_EQ(expression("if a < b then 1 else if c then 2 else 3"),
            "if a < b then 1 else if c then 2 else 3");
  EXPECT_EQ(expression("1 + (if a then 1 else 2) * 3"), "1 + (if a then 1 else 2) * 3");
  EXPECT_EQ(expression("if a then if b then 1 else 2 else 3"),
            "if a then (if b then 1 else 2) else 3");
  EXPECT_EQ(expression("if (if a then b else c) then 1 else 2"),
            "if (if a then b else c) then 1 else 2");
}

TEST(ParserExpressions, Literals) {
  EXPECT_EQ(expression("60_000"), "60_000");
  EXPECT_EQ(expression("[1, 2.5e-3, -inf, true, false, training]"),
            "[1, 2.5e-3, -inf, true, false, training]");
  EXPECT_EQ(expression(R"("a \"b\" \\ \n c")"), R"("a \"b\" \\ \n c")");
  EXPECT_EQ(expression("[]"), "[]");
  EXPECT_EQ(expression("[[1], [2, 3]]"), "[[1], [2, 3]]");
  Parsed parsed("const a = 60_000");
  EXPECT_TRUE(constant_of(parsed).number.is_integer);
  EXPECT_EQ(constant_of(parsed).number.integer, 60000);
}

TEST(ParserExpressions, Reads) {
  EXPECT_EQ(expression("x[]"), "x[]");
  EXPECT_EQ(expression("x[b,2*h+k-1 else 0]"), "x[b, 2 * h + k - 1 else 0]");
  EXPECT_EQ(expression("x[..., k]"), "x[..., k]");
  EXPECT_EQ(expression("table[token[b, t], d]"), "table[token[b, t], d]");
  EXPECT_EQ(expression("f(x)[i][j]"), "f(x)[i][j]");
  EXPECT_EQ(expression("(a + b)[i]"), "(a + b)[i]");
  EXPECT_EQ(expression("x[i else if a then b else c]"), "x[i else if a then b else c]");

  Parsed parsed("const a = x[b, ..., j else 7]");
  const ast::Expression& read = constant_of(parsed);
  ASSERT_EQ(read.kind, ast::ExpressionKind::read);
  EXPECT_EQ(read.base().name.text, "x");
  ASSERT_EQ(read.indices().size(), 3U);
  EXPECT_EQ(read.indices()[1].kind, ast::ExpressionKind::ellipsis);
  EXPECT_EQ(read.default_value()->number.integer, 7);
}

TEST(ParserExpressions, CallsAndReductionsAreToldApartByTheColon) {
  Parsed call("const a = max(a, b)");
  EXPECT_EQ(constant_of(call).kind, ast::ExpressionKind::call);
  Parsed reduction("const a = max(k: x[k])");
  EXPECT_EQ(constant_of(reduction).kind, ast::ExpressionKind::reduction);
  Parsed nested("const a = max(a, max(k: x[k]))");
  EXPECT_EQ(constant_of(nested).kind, ast::ExpressionKind::call);
  EXPECT_EQ(constant_of(nested).arguments[1].value.kind, ast::ExpressionKind::reduction);

  EXPECT_EQ(expression("sum(i, j in 0..n+1, ... where i<j and not c: x[i,j])"),
            "sum(i, j in 0..n + 1, ... where i < j and not c: x[i, j])");
  for (std::string op : {"sum", "mean", "max", "min", "argmax", "argmin", "any", "all"}) {
    EXPECT_EQ(expression(op + "(k: x[k])"), op + "(k: x[k])");
    EXPECT_EQ(expression(op + "(t)"), op + "(t)");
  }
}

TEST(ParserExpressions, Calls) {
  EXPECT_EQ(expression("conv2d(x,O=6,K = 5)"), "conv2d(x, O = 6, K = 5)");
  EXPECT_EQ(expression("normal()"), "normal()");
  EXPECT_EQ(expression("dense(x, 10) as head"), "dense(x, 10) as head");
  EXPECT_EQ(expression("relu(dense(x, 10) as head) + 1"), "relu(dense(x, 10) as head) + 1");
  EXPECT_EQ(expression("Linear(x)"),
            "Linear(x)");  // whether there is one is not the parser's business
}

TEST(ParserExpressions, InitialisersOfCalls) {
  EXPECT_EQ(expression("dense(x, 10) init w = 0"), "dense(x, 10) init w = 0");
  EXPECT_EQ(expression("dense(x, 10) init w = 0 init c = 1 as head"),
            "dense(x, 10) as head init w = 0 init c = 1");
  EXPECT_EQ(expression("f(dense(x, 10) init w = 0 init c = 1, K = 3)"),
            "f(dense(x, 10) init w = 0 init c = 1, K = 3)");
  // The value is a whole expression, and calls in it leave `init` to the layer.
  EXPECT_EQ(expression("dense(x, 10) init w = 0.02 * normal() init c = 0"),
            "dense(x, 10) init w = 0.02 * normal() init c = 0");
  Parsed parsed("const a = dense(x, 10) init w = 0.02 * normal() init c = 0");
  ASSERT_EQ(constant_of(parsed).initialisers.size(), 2U);
  EXPECT_EQ(constant_of(parsed).initialisers[1].parameter.text, "c");
  // As an operand such a call needs parentheses, or it would take what follows.
  EXPECT_EQ(expression("(dense(x, 10) init w = 0) + y"), "(dense(x, 10) init w = 0) + y");
  EXPECT_EQ(expression("dense(x, 10) init w = (f(y) as n) init c = (f(y) init a = 0)"),
            "dense(x, 10) init w = (f(y) as n) init c = (f(y) init a = 0)");
  // `init` is a name like any other.
  EXPECT_EQ(statements("a = f(x)\ninit = 3\nb = init"), "a = f(x)\ninit = 3\nb = init");
}

// -----------------------------------------------------------------------------------------------
// statements

TEST(ParserStatements, OfLayers) {
  EXPECT_EQ(statements("const E = D // 2 const k = 3"), "const E = D // 2\nconst k = 3");
  EXPECT_EQ(statements("param w: real[I, O + 1] = normal() @nodecay @slow"),
            "param w: real[I, O + 1] = normal() @nodecay @slow");
  EXPECT_EQ(statements("state m: f32[] = 0"), "state m: f32[] = 0");
  EXPECT_EQ(statements("require a >= 0 and a < 1, \"a is a rate\""),
            "require a >= 0 and a < 1, \"a is a rate\"");
  EXPECT_EQ(statements("require a"), "require a");
  EXPECT_EQ(statements("when a { b = 1 } else { when c { } }"),
            "when a {\n  b = 1\n} else {\n  when c {\n  }\n}");
  EXPECT_EQ(statements("repeat 2 { h = f(h) }"), "repeat 2 {\n  h = f(h)\n}");
  EXPECT_EQ(statements("a, b, c = f(x)"), "a, b, c = f(x)");
  EXPECT_EQ(statements("y[..., o in 0..4] = 1"), "y[..., o in 0..4] = 1");
  EXPECT_EQ(statements("y[] = 1"), "y[] = 1");
  EXPECT_EQ(statements("v <- 1 w[c] <- 2 z[] <- 3"), "v <- 1\nw[c] <- 2\nz[] <- 3");
}

TEST(ParserStatements, OfModels) {
  EXPECT_EQ(
      statements("input x: u8[B, 28] in 0..V input t: i32[B] output h loss = mean(t) metric m = 1",
                 "model m"),
      "input x: u8[B, 28] in 0..V\ninput t: i32[B]\noutput h\nloss = mean(t)\nmetric m = 1");
}

TEST(ParserStatements, SeveralFitOnALineAndOneOnSeveral) {
  EXPECT_EQ(statements("a = b c[i] = d[i] e <- f"), "a = b\nc[i] = d[i]\ne <- f");
  EXPECT_EQ(statements("a =\n  b +\n  c\n  * d"), "a = b + c * d");
}

// ----------------------------------------------------------------------------------------------------
// items

TEST(ParserItems, Functions) {
  EXPECT_EQ(canonical("fn f(x,a=0.1)=x*a"), "fn f(x, a = 0.1) = x * a\n");
  EXPECT_EQ(canonical("fn f() { a = 1 b = a return a + b }"),
            "fn f() {\n  a = 1\n  b = a\n  return a + b\n}\n");
  EXPECT_EQ(canonical("fn f(x, y) = x * y deriv x = y deriv! y = 1"),
            "fn f(x, y) = x * y\n  deriv x = y\n  deriv! y = 1\n");
  EXPECT_EQ(canonical("fn f(x) = x fn g(x) = x\nconst a = 1"),
            "fn f(x) = x\nfn g(x) = x\n\nconst a = 1\n");
}

TEST(ParserItems, Layers) {
  EXPECT_EQ(
      canonical("layer f(x: real[..., I], t: int[...] in 0..V, O: dim, K: dim = 3, r: float = 0.5, "
                "n: int, "
                "b: bool = true) -> (y: real[..., O], z: any[]) { }"),
      "layer f(x: real[..., I], t: int[...] in 0..V, O: dim, K: dim = 3, r: float = 0.5, n: int, "
      "b: bool = true) -> (y: real[..., O], z: any[]) {\n}\n");
  EXPECT_EQ(canonical("layer f() -> (y: bf16[]) {}"), "layer f() -> y: bf16[] {\n}\n");
}

TEST(ParserItems, OptimizersAndTransforms) {
  EXPECT_EQ(canonical("optimizer o(lr, b = 0.9) for p, g { state v = 0 v1 = b * v + g v <- v1 p <- "
                      "p - lr * v1 }"),
            "optimizer o(lr, b = 0.9) for p, g {\n  state v = 0\n  v1 = b * v + g\n  v <- v1\n  p "
            "<- p - lr * v1\n}\n");
  EXPECT_EQ(canonical("gradient c(limit) for g { g <- min(g, limit) }"),
            "gradient c(limit) for g {\n  g <- min(g, limit)\n}\n");
}

TEST(ParserItems, ImportsAndConstants) {
  EXPECT_EQ(canonical("import \"a.fg\" import \"b.fg\" const A = 1 const b = A"),
            "import \"a.fg\"\nimport \"b.fg\"\n\nconst A = 1\nconst b = A\n");
}

TEST(ParserItems, AnyWordIsAKeyInDataAndTrainBlocks) {
  EXPECT_EQ(canonical("data d { train { image = idx(\"a\") label = 1 } model { in = 3 if = 4 } }"),
            "data d {\n  train {\n    image = idx(\"a\")\n    label = 1\n  }\n  model {\n    in = "
            "3\n    if = 4\n  }\n}\n");
  EXPECT_EQ(canonical("train { a = b and = c or = f(x) as = g init = 1 }"),
            "train {\n  a = b\n  and = c\n  or = f(x)\n  as = g\n  init = 1\n}\n");
  EXPECT_EQ(
      canonical("train t { optimizer = sgd(lr = 0.1) transforms = [clip(1)] target = acc >= 0.9 }"),
      "train t {\n  optimizer = sgd(lr = 0.1)\n  transforms = [clip(1)]\n  target = acc >= "
      "0.9\n}\n");
}

TEST(ParserItems, TheCommentAboveADefinitionIsItsDocumentation) {
  Parsed parsed(
      "# ------------------ losses\n"
      "# First line.\n"
      "#   indented\n"
      "layer f() -> y: real[] { }  # not this\n"
      "\n"
      "# far away\n"
      "\n"
      "fn g(x) = x\n"
      "# close\r\n"
      "optimizer o() for p { }\n"
      "fn h(x) = x\n");
  EXPECT_EQ(parsed.errors(), "");
  EXPECT_EQ(std::get<ast::Layer>(parsed.file.items[0]).documentation, "First line.\n  indented");
  EXPECT_EQ(std::get<ast::Function>(parsed.file.items[1]).documentation, "");
  EXPECT_EQ(std::get<ast::Optimizer>(parsed.file.items[2]).documentation, "close");
  EXPECT_EQ(std::get<ast::Function>(parsed.file.items[3]).documentation, "");
}

TEST(ParserItems, PrintsSignatures) {
  Parsed parsed(
      "layer f(x: real[N]) -> y: real[N] { y = x } fn g(x, a = 1) = x optimizer o(lr) for p, g { "
      "}");
  EXPECT_EQ(print_signature(std::get<ast::Layer>(parsed.file.items[0])),
            "layer f(x: real[N]) -> y: real[N]");
  EXPECT_EQ(print_signature(std::get<ast::Function>(parsed.file.items[1])), "fn g(x, a = 1)");
  EXPECT_EQ(print_signature(std::get<ast::Optimizer>(parsed.file.items[2])),
            "optimizer o(lr) for p, g");
}

// ------------------------------------------------------------------------------------------------------
// spans

TEST(ParserSpans, OfStatements) {
  Parsed parsed(
      "layer f(x: real[N, 2 * M] in 0..9) -> y: real[N] {\n  y[n, k in 0..3] = x[n] + 1  # end\n  "
      "param w: real[N] = 0 @a\n}\n");
  ASSERT_EQ(parsed.errors(), "");
  const ast::Layer& layer = std::get<ast::Layer>(parsed.file.items[0]);
  EXPECT_EQ(parsed.text(layer.signature_span), "f(x: real[N, 2 * M] in 0..9) -> y: real[N]");
  EXPECT_EQ(parsed.text(layer.name.span), "f");
  EXPECT_EQ(parsed.text(layer.parameters[0].span), "x: real[N, 2 * M] in 0..9");
  EXPECT_EQ(parsed.text(layer.parameters[0].type->span), "real[N, 2 * M]");
  EXPECT_EQ(parsed.text(layer.parameters[0].type->sizes[1].span), "2 * M");
  EXPECT_EQ(parsed.text(layer.parameters[0].range->span), "0..9");
  EXPECT_EQ(parsed.text(layer.outputs[0].span), "y: real[N]");
  const ast::Statement& define = layer.body[0];
  EXPECT_EQ(parsed.text(define.span), "y[n, k in 0..3] = x[n] + 1");
  EXPECT_EQ(parsed.text(define.left_span), "y[n, k in 0..3]");
  EXPECT_EQ(parsed.text(define.operator_span), "=");
  EXPECT_EQ(parsed.text(define.indices[1].span), "k in 0..3");
  const ast::Statement& parameter = layer.body[1];
  EXPECT_EQ(parsed.text(parameter.keyword_span), "param");
  EXPECT_EQ(parsed.text(parameter.tags[0].span), "a");
}

// Every expression lies within its parent, and its text, parsed again, prints as the expression
// does.
void check_spans(const Parsed& parsed, const ast::Expression& expression, Span parent) {
  ASSERT_TRUE(expression.span.valid()) << print(expression);
  ASSERT_TRUE(expression.span.begin >= parent.begin && expression.span.end <= parent.end)
      << print(expression);
  ASSERT_LT(expression.span.begin, expression.span.end);
  std::string text = parsed.text(expression.span);
  if (expression.kind != ast::ExpressionKind::ellipsis) {
    Parsed again("const a = " + text);
    ASSERT_EQ(again.errors(), "") << text;
    ASSERT_EQ(print(constant_of(again)), print(expression)) << text;
  }
  uint16_t children = 0;
  auto visit = [&](const ast::Expression& child) {
    check_spans(parsed, child, expression.span);
    children = std::max(children, child.height);
  };
  for (const ast::Expression& operand : expression.operands) visit(operand);
  for (const ast::Argument& argument : expression.arguments) visit(argument.value);
  for (const ast::Initialiser& initialiser : expression.initialisers) visit(initialiser.value);
  for (const ast::Binder& binder : expression.binders) {
    ASSERT_TRUE(binder.span.valid());
    if (!binder.range) continue;
    visit(binder.range->begin);
    visit(binder.range->end);
  }
  EXPECT_EQ(expression.height, children + 1);
}

TEST(ParserSpans, OfExpressions) {
  Parsed parsed(
      "const a = if not (a + 2) * -f(x, K = 3) as n ^ 2 < g[i, ..., 2*j else -inf] then [\"s\", "
      "true] "
      "else sum(i, j in 0..N where i < j: (x[i] + D)) + h(y) init w = training init c = (1)\n");
  ASSERT_EQ(parsed.errors(), "");
  const ast::Constant& constant = std::get<ast::Constant>(parsed.file.items[0]);
  EXPECT_EQ(parsed.text(constant.span) + "\n", parsed.sources.text(0));
  check_spans(parsed, constant.value, constant.span);
  Parsed product("const a = (a + b) * c");
  EXPECT_EQ(product.text(constant_of(product).span), "(a + b) * c");
  EXPECT_EQ(product.text(constant_of(product).operands[0].span), "(a + b)");
  EXPECT_EQ(product.text(constant_of(product).operator_span), "*");
}

// -------------------------------------------------------------------------------------------------
// whole files

class ParserPrograms : public ::testing::TestWithParam<std::string> {};

std::string read_program(const std::string& name) {
  std::ifstream file(std::string(FUSEGRAD_SOURCE_DIR) + "/tests/frontend/programs/" + name + ".fg");
  EXPECT_TRUE(file) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_P(ParserPrograms, ParseAndRoundTrip) {
  std::string source = read_program(GetParam());
  std::string printed = canonical(source);
  // The printer drops blanks and comments and adds nothing: without them and without parentheses,
  // both are equal.
  auto essence = [](const std::string& text) {
    std::string out;
    bool in_comment = false;
    for (char c : text) {
      if (c == '#') in_comment = true;
      if (c == '\n') in_comment = false;
      if (!in_comment && std::string(" \n()").find(c) == std::string::npos) out += c;
    }
    return out;
  };
  EXPECT_EQ(essence(printed), essence(source));
}

INSTANTIATE_TEST_SUITE_P(All, ParserPrograms,
                         ::testing::Values("library", "softmax_regression", "mlp", "lenet",
                                           "resnet", "char_transformer", "autoencoder", "churn",
                                           "own_parts"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace fusegrad::frontend
