// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The instructions of L's evaluator. Every real operation is one operation of the host, rounded to
// its type; this file must be compiled without contraction and without fast-math (as all of ours).
#include "ir/loop/machine.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace fusegrad::ir {
namespace {

using Step = const Instruction*;

template <typename T>
T* slot(Machine& machine, uint32_t offset) {
  return reinterpret_cast<T*>(machine.frame + offset);
}

/// Integers wrap: their sums and products are taken without sign.
template <typename T>
using Wrapping = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                             std::type_identity<T>>::type;

struct Add {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};
struct Subtract {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};
struct Multiply {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};
struct Divide {
  template <typename T>
  static T apply(T a, T b) {
    return a / b;
  }
};
struct FloorDivide {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(floor_divide(a, b));
  }
};
struct Modulo {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(floor_modulo(a, b));
  }
};
struct Minimum {
  template <typename T>
  static T apply(T a, T b) {
    return a <= b || a != a ? a : b;
  }
};
struct Maximum {
  template <typename T>
  static T apply(T a, T b) {
    return a >= b || a != a ? a : b;
  }
};
struct BitAnd {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct BitOr {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct BitXor {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct Less {
  template <typename T>
  static bool apply(T a, T b) {
    return a < b;
  }
};
struct LessEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Equal {
  template <typename T>
  static bool apply(T a, T b) {
    return a == b;
  }
};
struct NotEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a != b;
  }
};
struct Greater {
  template <typename T>
  static bool apply(T a, T b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a >= b;
  }
};
struct Negate {
  template <typename T>
  static T apply(T a) {
    if constexpr (std::is_floating_point_v<T>) return -a;
    return static_cast<T>(Wrapping<T>{0} - static_cast<Wrapping<T>>(a));
  }
};
struct Abs {
  template <typename T>
  static T apply(T a) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fabs(a);
    } else {
      return a < 0 ? Negate::apply(a) : a;
    }
  }
};
struct Floor {
  template <typename T>
  static T apply(T a) {
    return std::floor(a);
  }
};
struct SquareRoot {
  template <typename T>
  static T apply(T a) {
    return std::sqrt(a);
  }
};
struct Not {
  template <typename T>
  static bool apply(T a) {
    return a == 0;
  }
};

/// Real to integer rounds toward zero and saturates, NaN gives 0; integers wrap.
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (value != value) return 0;
    // Both limits are powers of two (or 0), so exact in From; the upper one is the first that does
    // not fit.
    const From low = static_cast<From>(std::numeric_limits<To>::min());
    const From high = std::ldexp(From{1}, std::numeric_limits<To>::digits);
    if (value <= low) return std::numeric_limits<To>::min();
    if (value >= high) return std::numeric_limits<To>::max();
  }
  return static_cast<To>(value);
}

template <typename Out, typename In, typename F>
Step binary(Machine& machine, Step i) {
  const In* a = slot<In>(machine, i->a);
  const In* b = slot<In>(machine, i->b);
  Out* result = slot<Out>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) result[lane] = F::apply(a[lane], b[lane]);
  return i + 1;
}

template <typename Out, typename In, typename F>
Step unary(Machine& machine, Step i) {
  const In* a = slot<In>(machine, i->a);
  Out* result = slot<Out>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) result[lane] = F::apply(a[lane]);
  return i + 1;
}

template <typename T>
Step fused_multiply_add(Machine& machine, Step i) {
  const T* a = slot<T>(machine, i->a);
  const T* b = slot<T>(machine, i->b);
  const T* c = slot<T>(machine, i->c);
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    result[lane] = std::fma(a[lane], b[lane], c[lane]);
  }
  return i + 1;
}

/// The count stands in `number`.
template <typename T>
Step shift_left(Machine& machine, Step i) {
  const T* a = slot<T>(machine, i->a);
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    result[lane] = static_cast<T>(static_cast<std::make_unsigned_t<T>>(a[lane]) << i->number);
  }
  return i + 1;
}

template <typename T>
Step shift_right(Machine& machine, Step i) {
  const T* a = slot<T>(machine, i->a);
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    result[lane] = static_cast<T>(static_cast<std::make_unsigned_t<T>>(a[lane]) >> i->number);
  }
  return i + 1;
}

template <typename T, bool scalar_condition>
Step select(Machine& machine, Step i) {
  const uint8_t* condition = slot<uint8_t>(machine, i->a);
  const T* then_value = slot<T>(machine, i->b);
  const T* else_value = slot<T>(machine, i->c);
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    result[lane] = condition[scalar_condition ? 0 : lane] ? then_value[lane] : else_value[lane];
  }
  return i + 1;
}

template <typename To, typename From>
Step convert_lanes(Machine& machine, Step i) {
  const From* a = slot<From>(machine, i->a);
  To* result = slot<To>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) result[lane] = convert<To>(a[lane]);
  return i + 1;
}

template <typename T>
Step splat(Machine& machine, Step i) {
  const T value = *slot<T>(machine, i->a);
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) result[lane] = value;
  return i + 1;
}

template <typename T>
Step take_lane(Machine& machine, Step i) {
  *slot<T>(machine, i->result) = slot<T>(machine, i->a)[i->number];
  return i + 1;
}

/// v = low half + high half until one lane is left.
template <typename T>
Step vector_sum(Machine& machine, Step i) {
  T values[64];
  std::memcpy(values, slot<T>(machine, i->a), static_cast<size_t>(i->lanes) * sizeof(T));
  for (int32_t half = i->lanes / 2; half > 0; half /= 2) {
    for (int32_t lane = 0; lane < half; ++lane) {
      values[lane] = Add::apply(values[lane], values[lane + half]);
    }
  }
  *slot<T>(machine, i->result) = values[0];
  return i + 1;
}

Step copy(Machine& machine, Step i) {
  std::memmove(machine.frame + i->result, machine.frame + i->a, static_cast<size_t>(i->number));
  return i + 1;
}

Step fail(Machine& machine, Step i, int64_t address, bool unwritten) {
  machine.fault = {i, address, unwritten};
  return nullptr;
}

template <typename T>
Step load_contiguous(Machine& machine, Step i) {
  const int64_t address = *slot<int64_t>(machine, i->a);
  const MachineRegion& region = machine.regions[static_cast<size_t>(i->region)];
  if (address < 0 || address > region.elements - i->lanes) return fail(machine, i, address, false);
  if (region.written != nullptr) {
    for (int32_t lane = 0; lane < i->lanes; ++lane) {
      if (!region.written[address + lane]) return fail(machine, i, address + lane, true);
    }
  }
  std::memcpy(slot<T>(machine, i->result), region.data + address * static_cast<int64_t>(sizeof(T)),
              static_cast<size_t>(i->lanes) * sizeof(T));
  return i + 1;
}

template <typename T>
Step load_gathered(Machine& machine, Step i) {
  const int64_t* addresses = slot<int64_t>(machine, i->a);
  const MachineRegion& region = machine.regions[static_cast<size_t>(i->region)];
  T* result = slot<T>(machine, i->result);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    const int64_t address = addresses[lane];
    if (address < 0 || address >= region.elements) return fail(machine, i, address, false);
    if (region.written != nullptr && !region.written[address]) {
      return fail(machine, i, address, true);
    }
    std::memcpy(result + lane, region.data + address * static_cast<int64_t>(sizeof(T)), sizeof(T));
  }
  return i + 1;
}

template <typename T>
Step store_contiguous(Machine& machine, Step i) {
  const int64_t address = *slot<int64_t>(machine, i->a);
  const MachineRegion& region = machine.regions[static_cast<size_t>(i->region)];
  if (address < 0 || address > region.elements - i->lanes) return fail(machine, i, address, false);
  std::memcpy(region.data + address * static_cast<int64_t>(sizeof(T)), slot<T>(machine, i->b),
              static_cast<size_t>(i->lanes) * sizeof(T));
  if (region.written != nullptr) {
    std::memset(region.written + address, 1, static_cast<size_t>(i->lanes));
  }
  return i + 1;
}

template <typename T>
Step store_scattered(Machine& machine, Step i) {
  const int64_t* addresses = slot<int64_t>(machine, i->a);
  const MachineRegion& region = machine.regions[static_cast<size_t>(i->region)];
  const T* values = slot<T>(machine, i->b);
  for (int32_t lane = 0; lane < i->lanes; ++lane) {
    const int64_t address = addresses[lane];
    if (address < 0 || address >= region.elements) return fail(machine, i, address, false);
    std::memcpy(region.data + address * static_cast<int64_t>(sizeof(T)), values + lane, sizeof(T));
    if (region.written != nullptr) region.written[address] = 1;
  }
  return i + 1;
}

Step clear_stack(Machine& machine, Step i) {
  const MachineRegion& region = machine.regions[static_cast<size_t>(i->region)];
  std::memset(region.written, 0, static_cast<size_t>(region.elements));
  return i + 1;
}

Step jump_if_false(Machine& machine, Step i) {
  return *slot<uint8_t>(machine, i->a) ? i + 1 : i + i->jump;
}

Step jump(Machine&, Step i) { return i + i->jump; }

Step loop_test(Machine& machine, Step i) {
  return *slot<int64_t>(machine, i->result) < *slot<int64_t>(machine, i->a) ? i + 1 : i + i->jump;
}

Step loop_next(Machine& machine, Step i) {
  int64_t& counter = *slot<int64_t>(machine, i->result);
  if (__builtin_add_overflow(counter, i->number, &counter)) return i + 1;
  return i + i->jump;
}

Step end(Machine&, Step) { return nullptr; }

/// `visit` gets a zero of the C++ type that holds the scalar type (uint8_t for bool).
template <typename Visitor>
Instruction::Run by_type(ScalarType type, Visitor visit) {
  switch (type) {
    case ScalarType::boolean:
    case ScalarType::u8:
      return visit(uint8_t{0});
    case ScalarType::i32:
      return visit(int32_t{0});
    case ScalarType::i64:
      return visit(int64_t{0});
    case ScalarType::f32:
      return visit(float{0});
    case ScalarType::f64:
      return visit(double{0});
  }
  return nullptr;
}

template <typename F>
Instruction::Run on_numbers(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return binary<T, T, F>; });
}
template <typename F>
Instruction::Run comparison(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return binary<uint8_t, T, F>; });
}
template <typename F>
Instruction::Run on_integers(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run {
    if constexpr (std::is_integral_v<T>) return binary<T, T, F>;
    return nullptr;
  });
}
template <typename F>
Instruction::Run one_number(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return unary<T, T, F>; });
}
template <typename F>
Instruction::Run one_real(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run {
    if constexpr (std::is_floating_point_v<T>) return unary<T, T, F>;
    return nullptr;
  });
}

}  // namespace

Instruction::Run machine_operation(Op op, ScalarType operand, ScalarType result) {
  switch (op) {
    case Op::negate:
      return one_number<Negate>(operand);
    case Op::add:
      return on_numbers<Add>(operand);
    case Op::subtract:
      return on_numbers<Subtract>(operand);
    case Op::multiply:
      return on_numbers<Multiply>(operand);
    case Op::divide:
      return by_type(operand, []<typename T>(T) -> Instruction::Run {
        if constexpr (std::is_floating_point_v<T>) return binary<T, T, Divide>;
        return nullptr;
      });
    case Op::floor_divide:
      return on_integers<FloorDivide>(operand);
    case Op::modulo:
      return on_integers<Modulo>(operand);
    case Op::minimum:
      return on_numbers<Minimum>(operand);
    case Op::maximum:
      return on_numbers<Maximum>(operand);
    case Op::less:
      return comparison<Less>(operand);
    case Op::less_equal:
      return comparison<LessEqual>(operand);
    case Op::greater:
      return comparison<Greater>(operand);
    case Op::greater_equal:
      return comparison<GreaterEqual>(operand);
    case Op::equal:
      return comparison<Equal>(operand);
    case Op::not_equal:
      return comparison<NotEqual>(operand);
    case Op::logical_and:
    case Op::bit_and:
      return on_integers<BitAnd>(operand);
    case Op::logical_or:
    case Op::bit_or:
      return on_integers<BitOr>(operand);
    case Op::bit_xor:
      return on_integers<BitXor>(operand);
    case Op::logical_not:
      return unary<uint8_t, uint8_t, Not>;
    case Op::sqrt:
      return one_real<SquareRoot>(operand);
    case Op::floor:
      return one_real<Floor>(operand);
    case Op::abs:
      return one_number<Abs>(operand);
    case Op::fma:
      return by_type(operand, []<typename T>(T) -> Instruction::Run {
        if constexpr (std::is_floating_point_v<T>) return fused_multiply_add<T>;
        return nullptr;
      });
    case Op::shift_left:
      return by_type(operand, []<typename T>(T) -> Instruction::Run {
        if constexpr (std::is_integral_v<T>) return shift_left<T>;
        return nullptr;
      });
    case Op::shift_right:
      return by_type(operand, []<typename T>(T) -> Instruction::Run {
        if constexpr (std::is_integral_v<T>) return shift_right<T>;
        return nullptr;
      });
    case Op::convert:
      return machine_convert(operand, result);
    case Op::constant:
    case Op::index:
    case Op::uniform:
    case Op::read:
    case Op::variable:
    case Op::power:
    case Op::select:
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::expm1:
    case Op::rsqrt:
    case Op::tanh:
    case Op::erf:
    case Op::sin:
    case Op::cos:
    case Op::rand:
    case Op::normal:
    case Op::stop_gradient:
    case Op::custom:
    case Op::splat:
    case Op::lane:
    case Op::iota:
    case Op::bit_cast:
    case Op::vector_sum:
      return nullptr;
  }
  return nullptr;
}

Instruction::Run machine_select(ScalarType type, bool scalar_condition) {
  return by_type(type, [scalar_condition]<typename T>(T) -> Instruction::Run {
    return scalar_condition ? select<T, true> : select<T, false>;
  });
}

Instruction::Run machine_convert(ScalarType from, ScalarType to) {
  return by_type(from, [to]<typename From>(From) -> Instruction::Run {
    return by_type(to, []<typename To>(To) -> Instruction::Run { return convert_lanes<To, From>; });
  });
}

Instruction::Run machine_splat(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return splat<T>; });
}

Instruction::Run machine_lane(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return take_lane<T>; });
}

Instruction::Run machine_vector_sum(ScalarType type) {
  return by_type(type, []<typename T>(T) -> Instruction::Run { return vector_sum<T>; });
}

Instruction::Run machine_copy() { return copy; }

Instruction::Run machine_load(ScalarType type, bool vector_address) {
  return by_type(type, [vector_address]<typename T>(T) -> Instruction::Run {
    return vector_address ? load_gathered<T> : load_contiguous<T>;
  });
}

Instruction::Run machine_store(ScalarType type, bool vector_address) {
  return by_type(type, [vector_address]<typename T>(T) -> Instruction::Run {
    return vector_address ? store_scattered<T> : store_contiguous<T>;
  });
}

Instruction::Run machine_clear_stack() { return clear_stack; }
Instruction::Run machine_jump_if_false() { return jump_if_false; }
Instruction::Run machine_jump() { return jump; }
Instruction::Run machine_loop_test() { return loop_test; }
Instruction::Run machine_loop_next() { return loop_next; }
Instruction::Run machine_end() { return end; }

}  // namespace fusegrad::ir
