// A recorded node of tests/data/nodes: the healthy one, or it with a fault applied.
//
// A fault is a text file with sections: [expect] "ID SEVERITY" (or "none"), [remove] paths, each
// with all below it, [tree] manifest entries that come in the place of the healthy node's, [facts]
// a JSON merge patch (RFC 7396) of healthy.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "doctor/facts.h"

namespace egpu::doctor {

struct RecordedNode {
    std::string name;
    std::string expected_id;  // "" for none
    std::string expected_severity;
    std::unique_ptr<FileView> files;
    Facts facts;  // refers to `files`
};

// Aborts with a message when the files are not as described above.
RecordedNode load_healthy_node();
RecordedNode load_broken_node(const std::string& name);
std::vector<std::string> broken_node_names();

}  // namespace egpu::doctor
