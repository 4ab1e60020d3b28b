# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Text tests of stages and passes. A *.test file holds RUN lines and what FileCheck must find. Run by
# CTest as lit.passes, which sets the FUSEGRAD_* variables read here.
#
#   # RUN: %fusegrad opt --passes=simplify %s | FileCheck %s
import os

import lit.formats

config.name = "fusegrad"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.environ["FUSEGRAD_LIT_OUTPUT"]

config.substitutions.append(("%fusegrad", os.environ["FUSEGRAD_TOOL"]))
# FileCheck, not and split-file.
config.environment["PATH"] = os.environ["FUSEGRAD_LLVM_TOOLS"] + os.pathsep + os.environ["PATH"]
config.environment["FUSEGRAD_VERIFY"] = "each"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
