// What a session's nodes are, and how long each takes.
#include <memory>
#include <string>
#include <vector>

#include "capi/guard.h"
#include "capi/tensors.h"

// Owns its strings, so that it may outlive the session.
struct zp_profile {
  struct Row {
    std::string name, op, precision, kernel, isa, reason;
    zp_shape output{};
    int64_t macs = 0;
    double seconds = 0.0;
  };
  double run_seconds = 0.0;
  std::vector<Row> rows;
};

using namespace zeropoint;        // NOLINT: this file implements functions outside
using namespace zeropoint::capi;  // NOLINT

zp_status zp_session_profile(const zp_session* session, const zp_input* inputs,
                             const zp_shape* shapes, size_t input_count, int32_t repeats,
                             zp_profile** profile) {
  return guarded([&] {
    require(session, "session");
    require(profile, "profile");
    if (repeats < 0) {
      throw Error(ErrorCode::invalid_argument,
                  "repeats must be at least 0, not " + std::to_string(repeats));
    }
    const Session& s = session->session;
    const auto plan = plan_of(s, shapes, input_count);
    Session::Profile times;
    if (repeats > 0) times = s.profile(*plan, input_pointers(s, *plan, inputs), repeats);
    auto made = std::make_unique<zp_profile>();
    made->run_seconds = times.run_seconds;
    for (const Session::NodeRow& row : s.nodes(*plan)) {
      const size_t i = made->rows.size();
      made->rows.push_back({row.node->name, row.node->op, row.precision, row.kernel, row.isa,
                            row.node->reason, to_c(row.output_shape), row.macs,
                            repeats > 0 ? times.node_seconds[i] : 0.0});
    }
    *profile = made.release();
  });
}

double zp_profile_run_seconds(const zp_profile* profile) {
  return profile == nullptr ? 0.0 : profile->run_seconds;
}

size_t zp_profile_node_count(const zp_profile* profile) {
  return profile == nullptr ? 0 : profile->rows.size();
}

zp_status zp_profile_node(const zp_profile* profile, size_t index, zp_node* node) {
  return guarded([&] {
    require(profile, "profile");
    require(node, "node");
    check_index(index, profile->rows.size(), "nodes");
    const zp_profile::Row& row = profile->rows[index];
    *node = {row.name.c_str(),   row.op.c_str(),  row.precision.c_str(),
             row.kernel.c_str(), row.isa.c_str(), row.reason.c_str(),
             row.output,         row.macs,        row.seconds};
  });
}

void zp_profile_free(zp_profile* profile) { delete profile; }
