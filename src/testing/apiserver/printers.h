// The cells of a kind's row in a meta.k8s.io Table, as `kubectl get` shows them: the columns and
// words are those of the real server (kubernetes pkg/printers/internalversion). Pure but for the
// clock (ages).
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "testing/apiserver/object.h"

namespace egpu::testing {

void print_pod(const Object& object, json::array& cells);
void print_node(const Object& object, json::array& cells);
void print_event(const Object& object, json::array& cells);
void print_namespace(const Object& object, json::array& cells);
void print_service(const Object& object, json::array& cells);
void print_endpoints(const Object& object, json::array& cells);
void print_config_map(const Object& object, json::array& cells);
void print_secret(const Object& object, json::array& cells);
void print_service_account(const Object& object, json::array& cells);
void print_lease(const Object& object, json::array& cells);
void print_priority_class(const Object& object, json::array& cells);

// "5s", "3m10s", "4h", "2d"; "<unknown>" for a text that is no time. Fractions of a second are
// ignored.
std::string age_of(std::string_view timestamp);

}  // namespace egpu::testing
