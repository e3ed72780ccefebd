#include "doctor/containerd_config.h"

#include <gtest/gtest.h>

#include "doctor/enable_cdi.h"
#include "doctor/text_diff.h"

namespace egpu::doctor {
namespace {

std::string as_file(const std::string& path, const std::string& text) {
    std::string out = "file " + path + " 644 -\n| ";
    for (const char c : text) out += c == '\n' ? std::string("\n| ") : std::string(1, c);
    return out + "\n";
}

ContainerdConfig read(const std::string& manifest, bool merges = false) {
    const auto view = RecordedView::parse(manifest);
    EXPECT_TRUE(view.ok()) << view.error().message;
    return read_containerd_config(**view, "/etc/containerd/config.toml", merges);
}

constexpr const char* kMain = "/etc/containerd/config.toml";

TEST(ContainerdConfig, reads_all_three_versions) {
    const ContainerdConfig one = read(as_file(kMain, R"([plugins.cri]
  systemd_cgroup = true
  [plugins.cri.containerd]
    default_runtime_name = "nvidia"
  [plugins.cri.containerd.runtimes.nvidia]
    runtime_engine = "/usr/bin/nvidia-container-runtime")"));
    EXPECT_EQ(one.version, 1);
    EXPECT_EQ(one.default_runtime, "nvidia");
    ASSERT_NE(one.runtime("nvidia"), nullptr);
    EXPECT_EQ(one.runtime("nvidia")->binary_name, "/usr/bin/nvidia-container-runtime");
    EXPECT_TRUE(one.runtime("nvidia")->systemd_cgroup);

    const ContainerdConfig three = read(as_file(kMain, R"(version = 3
[plugins.'io.containerd.cri.v1.runtime']
  enable_cdi = true
  cdi_spec_dirs = ['/etc/cdi']
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    SystemdCgroup = true)"));
    EXPECT_EQ(three.version, 3);
    EXPECT_EQ(three.enable_cdi, true);
    EXPECT_EQ(three.cdi_spec_dirs, std::vector<std::string>{"/etc/cdi"});
    EXPECT_TRUE(three.runtime("runc")->systemd_cgroup);
}

constexpr const char* kWithImport = R"(version = 2
imports = ["conf.d/*.toml", "/nowhere/*.toml"]
[plugins."io.containerd.grpc.v1.cri"]
  enable_cdi = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true)";
constexpr const char* kImport = R"(version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
  BinaryName = "/usr/bin/nvidia-container-runtime")";

TEST(ContainerdConfig, an_import_replaces_the_section_in_containerd_1_and_merges_in_2) {
    const std::string tree =
        as_file(kMain, kWithImport) + as_file("/etc/containerd/conf.d/99.toml", kImport);
    const ContainerdConfig replaced = read(tree, false);
    EXPECT_EQ(replaced.runtime("runc"), nullptr);
    EXPECT_FALSE(replaced.enable_cdi.has_value());
    EXPECT_EQ(replaced.enable_cdi_file, "/etc/containerd/conf.d/99.toml");
    const ContainerdConfig merged = read(tree, true);
    ASSERT_NE(merged.runtime("runc"), nullptr);
    EXPECT_TRUE(merged.runtime("runc")->systemd_cgroup);
    EXPECT_NE(merged.runtime("nvidia"), nullptr);
    EXPECT_EQ(merged.enable_cdi, true);
    EXPECT_EQ(merged.files.size(), 2U);
}

TEST(ContainerdConfig, imports_in_a_circle_end) {
    const ContainerdConfig config = read(
        as_file(kMain, "version = 2\nimports = [\"/etc/containerd/a.toml\"]") +
        as_file("/etc/containerd/a.toml", "imports = [\"config.toml\", \"a.toml\"]")
    );
    EXPECT_EQ(config.error, "");
    EXPECT_EQ(config.files.size(), 2U);
}

TEST(ContainerdConfig, names_the_file_that_is_wrong) {
    const ContainerdConfig config = read(
        as_file(kMain, "imports = [\"/a.toml\", \"/b.toml\"]") + as_file("/a.toml", "x = [1") +
        as_file("/b.toml", "")
    );
    EXPECT_EQ(config.error_file, "/a.toml");
    EXPECT_NE(config.error.find("line 1"), std::string::npos) << config.error;
    EXPECT_FALSE(read("dir /etc 755").exists);
}

// What enable_cdi makes of a text; the error's text otherwise.
std::string enabled(const std::string& text) {
    const auto result = enable_cdi(text);
    return result ? *result : "error: " + result.error().message;
}

TEST(EnableCdi, changes_one_line_and_keeps_the_rest) {
    EXPECT_EQ(
        enabled("# mine\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  enable_cdi = "
                "false # no\n  x = 1\n"),
        "# mine\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  enable_cdi = true\n  x = "
        "1\n"
    );
    EXPECT_EQ(
        enabled("version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  x = 1\n[a]\n  enable_cdi "
                "= false\n"),
        "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  enable_cdi = true\n  x = "
        "1\n[a]\n  enable_cdi = false\n"
    );
}

TEST(EnableCdi, adds_the_section_before_its_first_subsection_or_at_the_end) {
    EXPECT_EQ(
        enabled("version = 2\n  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    x = 1\n"),
        "version = 2\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    enable_cdi = true\n\n"
        "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    x = 1\n"
    );
    EXPECT_EQ(
        enabled("version = 2\n"),
        "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  enable_cdi = true\n"
    );
    EXPECT_EQ(enabled(""), "[plugins.cri]\n  enable_cdi = true\n");
}

TEST(EnableCdi, is_idempotent) {
    for (const char* text :
         {"version = 2\n",
          "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  x = 1\n"}) {
        const std::string once = enabled(text);
        EXPECT_EQ(enabled(once), once);
    }
}

TEST(EnableCdi, refuses_what_it_cannot_edit_safely) {
    for (const char* text :
         {"version = 2\n[plugins]\n  \"io.containerd.grpc.v1.cri\" = {enable_cdi = false}\n",
          "version = 2\nplugins.\"io.containerd.grpc.v1.cri\".enable_cdi = false\n",
          "version = 2\na = '''\n[plugins.\"io.containerd.grpc.v1.cri\"]\n'''\n",
          "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  enable_cdi = false\n  "
          "[broken\n"}) {
        const std::string result = enabled(text);
        EXPECT_EQ(result.find("error: "), 0U) << result;
    }
}

TEST(UnifiedDiff, shows_what_changes_with_its_surroundings) {
    EXPECT_EQ(
        unified_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "/f"),
        "--- /f\n+++ /f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
    );
    EXPECT_EQ(unified_diff("a\n", "a\nb\n", "/f"), "--- /f\n+++ /f\n@@ -1,1 +1,2 @@\n a\n+b\n");
    EXPECT_EQ(unified_diff("", "b\n", "/f"), "--- /f\n+++ /f\n@@ -0,0 +1,1 @@\n+b\n");
    EXPECT_EQ(unified_diff("a\n", "a\n", "/f"), "");
}

}  // namespace
}  // namespace egpu::doctor
