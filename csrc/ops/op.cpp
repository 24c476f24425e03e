#include "ops/op.h"

namespace zeropoint {

void Attributes::set(const std::string& key, Value value) {
  items_.emplace_back(key, std::move(value));
}

const Attributes::Value* Attributes::find(const std::string& key) const {
  for (const auto& item : items_) {
    if (item.first == key) return &item.second;
  }
  return nullptr;
}

bool Attributes::has(const std::string& key) const { return find(key) != nullptr; }

namespace {

template <typename T>
const T& typed(const Attributes::Value* value, const std::string& key, const char* type) {
  if (value == nullptr) {
    throw Error(ErrorCode::invalid_model, "attribute '" + key + "' is missing");
  }
  const T* held = std::get_if<T>(value);
  if (held == nullptr) {
    throw Error(ErrorCode::invalid_model, "attribute '" + key + "' is not " + type);
  }
  return *held;
}

}  // namespace

int64_t Attributes::get_int(const std::string& key) const {
  return typed<int64_t>(find(key), key, "an integer");
}

int64_t Attributes::get_int(const std::string& key, int64_t fallback) const {
  return has(key) ? get_int(key) : fallback;
}

double Attributes::get_float(const std::string& key) const {
  const Value* value = find(key);
  if (value != nullptr && std::holds_alternative<int64_t>(*value)) {
    return static_cast<double>(std::get<int64_t>(*value));
  }
  return typed<double>(value, key, "a number");
}

double Attributes::get_float(const std::string& key, double fallback) const {
  return has(key) ? get_float(key) : fallback;
}

std::string Attributes::get_string(const std::string& key, const std::string& fallback) const {
  return has(key) ? typed<std::string>(find(key), key, "a string") : fallback;
}

std::vector<int64_t> Attributes::get_ints(const std::string& key) const {
  return typed<std::vector<int64_t>>(find(key), key, "a list of integers");
}

std::vector<int64_t> Attributes::get_ints(const std::string& key,
                                          std::vector<int64_t> fallback) const {
  return has(key) ? get_ints(key) : fallback;
}

std::vector<double> Attributes::get_floats(const std::string& key) const {
  return typed<std::vector<double>>(find(key), key, "a list of numbers");
}

std::unique_ptr<Plan> Op::plan_with_stride(const std::vector<Shape>&, const std::vector<Shape>&,
                                           int64_t) const {
  return nullptr;
}

std::unique_ptr<Plan> Op::plan_with_add(const std::vector<Shape>&, const std::vector<Shape>&,
                                        const FusedAdd&) const {
  return nullptr;
}

const ValueInfo& NodeInfo::input(size_t i) const {
  const ValueInfo* value = optional_input(i);
  if (value == nullptr) {
    throw Error(ErrorCode::invalid_model, "input " + std::to_string(i) + " is missing");
  }
  return *value;
}

const ValueInfo* NodeInfo::optional_input(size_t i) const {
  return i < inputs.size() ? inputs[i] : nullptr;
}

const ValueInfo& NodeInfo::output(size_t i) const {
  if (i >= outputs.size() || outputs[i] == nullptr) {
    throw Error(ErrorCode::invalid_model, "output " + std::to_string(i) + " is missing");
  }
  return *outputs[i];
}

}  // namespace zeropoint
