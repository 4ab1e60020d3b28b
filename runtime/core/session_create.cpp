// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A session is made: every program's buffers get their memory, and the table is checked against
// itself.
#include <algorithm>
#include <cstring>

#include "runtime/core/session_parts.h"

namespace fusegrad::runtime {

namespace {

int64_t buffer_bytes(const BufferEntry& buffer) {
  int64_t bytes = 0;
  RUNTIME_CHECK(!__builtin_mul_overflow(buffer.layout.physical_elements(),
                                        element_size(buffer.element), &bytes),
                "buffer {}", buffer.name);
  return bytes;
}

bool same_layout(const Layout& left, const Layout& right) {
  return left.shape == right.shape && left.block == right.block &&
         (left.block == 0 || left.blocked_dimension == right.blocked_dimension);
}

Failure no_memory(std::string_view what, int64_t bytes) {
  return {ExitCode::memory, fmt::format("no memory for {}: {} bytes", what, bytes), {}};
}

}  // namespace

Session::Session(const JobTable& job, ThreadTeam& team) : job_(job), team_(team) {}
Session::~Session() = default;

Expected<std::unique_ptr<Session>> Session::create(const JobTable& job, ThreadTeam& team) {
  std::unique_ptr<Session> session(new Session(job, team));
  int64_t arena_bytes = 0;
  for (const ProgramTable& table : job.programs) {
    arena_bytes = std::max(arena_bytes, table.arena_bytes);
  }
  std::optional<AlignedBytes> arena = AlignedBytes::zeroed(arena_bytes);
  if (!arena) return no_memory("temporaries", arena_bytes);
#ifndef NDEBUG
  // NaN in every float: what is read before it is written shows.
  std::memset(arena->data(), 0xff, static_cast<size_t>(arena_bytes));
#endif
  session->arena_ = std::move(*arena);

  for (const ProgramTable& table : job.programs) {
    RUNTIME_CHECK(session->find(table.name) == nullptr, "two programs {}", table.name);
    Program program;
    program.table = &table;
    for (std::vector<void*>& pointers : program.pointers) {
      pointers.assign(table.buffers.size(), nullptr);
    }
    const auto set = [&](size_t index, std::byte* memory) {
      for (std::vector<void*>& pointers : program.pointers) pointers[index] = memory;
    };
    for (size_t index = 0; index < table.buffers.size(); ++index) {
      const BufferEntry& buffer = table.buffers[index];
      switch (buffer.kind) {
        case BufferKind::input: {
          const auto input =
              std::find_if(job.inputs.begin(), job.inputs.end(),
                           [&](const InputEntry& entry) { return entry.name == buffer.name; });
          RUNTIME_CHECK(input != job.inputs.end() && input->element == buffer.element &&
                            input->row_shape == buffer.layout.shape && buffer.layout.block == 0,
                        "buffer {} of program {} is no input of the job", buffer.name, table.name);
          program.inputs.push_back(
              {static_cast<int>(index), static_cast<size_t>(input - job.inputs.begin())});
          break;
        }
        case BufferKind::row_list:
          RUNTIME_CHECK(buffer.element == ElementType::i32, "row list {}", buffer.name);
          program.row_lists.push_back(static_cast<int>(index));
          break;
        case BufferKind::parameter:
        case BufferKind::state: {
          Persistent& persistent = session->persistent_[buffer.name];
          if (persistent.entry == nullptr) {
            const int64_t bytes = buffer_bytes(buffer);
            std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
            if (!memory) {
              return no_memory(
                  quoted(buffer.name) + ", " + type_text(buffer.element, buffer.layout.shape),
                  bytes);
            }
            persistent.entry = &buffer;
            persistent.bytes = std::move(*memory);
          }
          RUNTIME_CHECK(persistent.entry->kind == buffer.kind &&
                            persistent.entry->element == buffer.element &&
                            same_layout(persistent.entry->layout, buffer.layout),
                        "programs disagree about {}", buffer.name);
          set(index, persistent.bytes.data());
          break;
        }
        case BufferKind::starts:
        case BufferKind::positions:
          RUNTIME_CHECK(buffer.element == ElementType::i32 && buffer.layout.block == 0,
                        "derived buffer {}", buffer.name);
          program.add_sorted(job, static_cast<int>(index));
          [[fallthrough]];
        case BufferKind::result:
          // The host reads or makes one copy while a step uses the other.
          for (size_t copy = 0; copy < 2; ++copy) {
            const int64_t bytes = buffer_bytes(buffer);
            std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
            if (!memory) return no_memory(quoted(buffer.name), bytes);
            program.pointers[copy][index] = memory->data();
            program.results[copy].push_back(std::move(*memory));
          }
          break;
        case BufferKind::temporary:
          RUNTIME_CHECK(
              buffer.arena_offset >= 0 && buffer.arena_offset % AlignedBytes::alignment == 0 &&
                  buffer.arena_offset <= table.arena_bytes - buffer_bytes(buffer),
              "temporary {} at {} of {}", buffer.name, buffer.arena_offset, table.arena_bytes);
          set(index, session->arena_.data() + buffer.arena_offset);
          break;
      }
    }
    program.check_sorted(job);
    for (size_t i = 0; i < table.results.size(); ++i) {
      const ResultEntry& result = table.results[i];
      RUNTIME_CHECK(result.buffer >= 0 && result.buffer < static_cast<int>(table.buffers.size()) &&
                        table.buffers[result.buffer].kind == BufferKind::result,
                    "result {} of program {}", result.label, table.name);
      const BufferEntry& buffer = table.buffers[result.buffer];
      if (result.kind == ResultKind::output) {
        RUNTIME_CHECK(
            result.per_row == 0 || (!buffer.layout.shape.empty() &&
                                    buffer.layout.shape[0] == result.per_row * table.batch),
            "output {} of program {}", result.label, table.name);
        continue;
      }
      if (result.kind != ResultKind::loss && result.kind != ResultKind::metric) {
        RUNTIME_CHECK(buffer.layout.block == 0, "part {} is packed", result.label);
        program.parts.push_back(static_cast<int>(i));
        continue;
      }
      RUNTIME_CHECK((buffer.element == ElementType::f32 || buffer.element == ElementType::f64) &&
                        buffer.layout.natural_elements() == 1,
                    "result {} of program {} is not one f32 or f64", result.label, table.name);
      if (result.kind == ResultKind::metric) {
        program.metrics.push_back(static_cast<int>(i));
      } else {
        RUNTIME_CHECK(program.loss < 0, "two losses in program {}", table.name);
        program.loss = result.buffer;
      }
    }
    for (const LaunchEntry& launch : table.launches) {
      for (const KernelEntry& kernel : launch.kernels) {
        RUNTIME_CHECK(kernel.function != nullptr, "kernel {} has no code", kernel.name);
      }
    }
    session->programs_.push_back(std::move(program));
  }
  return session;
}

Expected<OpenSession> open_session(const JobTable& job, int threads) {
  Expected<std::unique_ptr<ThreadTeam>> team = ThreadTeam::start(chosen_threads(threads));
  if (!team) return team.error();
  Expected<std::unique_ptr<Session>> session = Session::create(job, **team);
  if (!session) return session.error();
  return OpenSession{std::move(*team), std::move(*session)};
}

}  // namespace fusegrad::runtime
