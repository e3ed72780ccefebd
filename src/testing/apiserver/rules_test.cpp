// Defaults and validation, on values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/apiserver/metadata_rules.h"
#include "testing/apiserver/pod_rules.h"
#include "testing/apiserver/printers.h"
#include "testing/apiserver/quantity.h"

namespace egpu::testing {
namespace {

using ::testing::HasSubstr;

TEST(Quantity, Values) {
    const auto nano = [](std::int64_t v) { return Quantity::Wide(v); };
    for (const auto* twenty : {"20", "20.0", "2e1", "20000m", "0.02k", "+20", "200E-1"}) {
        const auto q = parse_quantity(twenty);
        ASSERT_TRUE(q.has_value()) << twenty;
        EXPECT_TRUE(q->nano == nano(20'000'000'000)) << twenty;
    }
    EXPECT_TRUE(parse_quantity("1Ki")->nano == nano(1'024'000'000'000));
    EXPECT_TRUE(parse_quantity("0.5Gi")->integral());
    EXPECT_FALSE(parse_quantity("20.5")->integral());
    EXPECT_TRUE(parse_quantity("1n")->nano == nano(1));
    EXPECT_TRUE(parse_quantity("0.1n")->nano == nano(1)) << "rounds up";
    EXPECT_TRUE(parse_quantity("-1")->negative());
    EXPECT_EQ(parse_quantity("99999999999999999999"), parse_quantity("8Ei"));
    for (const auto* bad : {"", "x", "1x", "1.2.3", "--1", "1e", "1 ", " 1", "1KI", "0x1", "1e1k"})
        EXPECT_FALSE(parse_quantity(bad).has_value()) << bad;
}

TEST(Quantity, Canonical) {
    EXPECT_EQ(canonical_quantity("20"), "20");
    EXPECT_EQ(canonical_quantity("20.0"), "20");
    EXPECT_EQ(canonical_quantity("2e1"), "20");
    EXPECT_EQ(canonical_quantity("1000m"), "1");
    EXPECT_EQ(canonical_quantity("0.5"), "500m");
    EXPECT_EQ(canonical_quantity("2048Mi"), "2Gi");
    EXPECT_EQ(canonical_quantity("1000"), "1k");
    EXPECT_EQ(canonical_quantity("0"), "0");
    EXPECT_EQ(canonical_quantity("32Gi"), "32Gi");
}

json::value pod_with(std::string_view resources) {
    auto pod = json::parse(
        R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":)" +
        std::string(resources) + "}]}}"
    );
    EXPECT_TRUE(pod.ok());
    EXPECT_FALSE(check_pod_shape(*pod).has_value());
    default_new_pod(*pod);
    return *pod;
}

std::string complaint(const std::vector<StatusCause>& causes) {
    std::string out;
    for (const auto& c : causes) out += c.field + ": " + c.message + "\n";
    return out;
}

TEST(PodRules, Defaults) {
    const auto pod = pod_with(R"({"limits":{"nano-gpu/gpu-percent":20}})");
    EXPECT_EQ(json::get_string(pod, {"status", "phase"}), "Pending");
    EXPECT_EQ(json::get_string(pod, {"spec", "restartPolicy"}), "Always");
    EXPECT_EQ(json::get_string(pod, {"spec", "schedulerName"}), "default-scheduler");
    const auto& container = json::get_array(pod, {"spec", "containers"})->front();
    EXPECT_EQ(json::get_string(container, {"resources", "requests", "nano-gpu/gpu-percent"}), "20");
    EXPECT_EQ(json::get_string(container, {"imagePullPolicy"}), "Always");
    EXPECT_EQ(complaint(validate_pod(pod)), "");
}

TEST(PodRules, ExtendedResources) {
    const auto complain = [](std::string_view resources) {
        return complaint(validate_pod(pod_with(resources)));
    };
    EXPECT_THAT(
        complain(R"({"limits":{"nano-gpu/gpu-percent":"20.5"}})"), HasSubstr("must be an integer")
    );
    EXPECT_THAT(complain(R"({"requests":{"nvidia.com/gpu":"1"}})"), HasSubstr("Limit must be set"));
    EXPECT_THAT(
        complain(R"({"limits":{"nvidia.com/gpu":"2"},"requests":{"nvidia.com/gpu":"1"}})"),
        HasSubstr("must be equal to nvidia.com/gpu limit of 2")
    );
    EXPECT_THAT(
        complain(R"({"limits":{"nvidia.com/gpu":"-1"}})"),
        HasSubstr("must be greater than or equal to 0")
    );
    EXPECT_EQ(complain(R"({"limits":{"nvidia.com/gpu":"0"}})"), "");
    EXPECT_EQ(complain(R"({"limits":{"cpu":"2"},"requests":{"cpu":"500m"}})"), "");
    EXPECT_THAT(
        complain(R"({"limits":{"cpu":"1"},"requests":{"cpu":"2"}})"),
        HasSubstr("must be less than or equal to cpu limit")
    );
}

TEST(PodRules, ShapesThatDoNotDecode) {
    const auto bad = [](std::string_view text) {
        return check_pod_shape(json::parse(text).value()).has_value();
    };
    EXPECT_TRUE(bad(R"({"spec":{"containers":{}}})"));
    EXPECT_TRUE(bad(R"({"spec":{"containers":[1]}})"));
    EXPECT_TRUE(bad(R"({"spec":{"containers":[{"name":1}]}})"));
    EXPECT_TRUE(bad(R"({"spec":{"containers":[{"resources":{"limits":[]}}]}})"));
    EXPECT_TRUE(bad(R"({"spec":{"containers":[{"resources":{"limits":{"a/b":"many"}}}]}})"));
    EXPECT_TRUE(bad(R"({"spec":{"nodeName":1}})"));
    EXPECT_FALSE(bad(R"({"spec":{}})"));
}

TEST(PodRules, UpdatesMayChangeLittle) {
    const auto before = pod_with(R"({"limits":{"nvidia.com/gpu":"1"}})");
    auto image = before;
    json::find(image, {"spec"})->get_object()["containers"].get_array()[0].get_object()["image"] =
        "j";
    EXPECT_EQ(complaint(validate_pod_update(before, image)), "");
    const auto other = pod_with(R"({"limits":{"nvidia.com/gpu":"2"}})");
    EXPECT_THAT(complaint(validate_pod_update(before, other)), HasSubstr("Forbidden: pod updates"));
    auto tolerant = before;
    json::find(tolerant, {"spec", "tolerations"})
        ->get_array()
        .emplace_back(json::object{{"operator", "Exists"}});
    EXPECT_EQ(complaint(validate_pod_update(before, tolerant)), "");
    EXPECT_THAT(complaint(validate_pod_update(tolerant, before)), HasSubstr("existing toleration"));
}

TEST(PodRules, GracePeriods) {
    auto pod = pod_with("{}");
    EXPECT_EQ(pod_grace_period(pod, 30), 0) << "never scheduled";
    assign_pod(pod, "n1", nullptr);
    EXPECT_EQ(pod_grace_period(pod, {}), 30);
    EXPECT_EQ(pod_grace_period(pod, 5), 5);
    EXPECT_EQ(pod_grace_period(pod, 0), 0);
    child_object(pod.get_object(), "status")["phase"] = "Failed";
    EXPECT_EQ(pod_grace_period(pod, 30), 0) << "finished";
}

TEST(MetadataRules, AnnotationKeys) {
    const auto complain = [](std::string_view key) {
        json::value doc = {{"metadata", {{"name", "p"}, {"annotations", {{key, "v"}}}}}};
        return complaint(check_metadata(pods(), doc));
    };
    EXPECT_EQ(complain("nano-gpu/container-main"), "");
    EXPECT_EQ(complain("nano-gpu/" + std::string(63, 'a')), "");
    EXPECT_THAT(complain("nano-gpu/" + std::string(64, 'a')), HasSubstr("no more than 63"));
    EXPECT_THAT(complain("a/b/c"), HasSubstr("name part"));
    EXPECT_THAT(complain("nano-gpu/-x"), HasSubstr("must start"));
    EXPECT_THAT(complain("/x"), HasSubstr("prefix part"));
}

TEST(MetadataRules, Uids) {
    const auto uid = new_uid();
    ASSERT_EQ(uid.size(), 36U);
    EXPECT_EQ(uid[14], '4');
    EXPECT_NE(std::string_view("89ab").find(uid[19]), std::string_view::npos);
    EXPECT_NE(uid, new_uid());
}

TEST(Printers, Ages) {
    EXPECT_EQ(age_of(timestamp_now(-5)), "5s");
    EXPECT_EQ(age_of(timestamp_now(-125)), "2m5s");
    EXPECT_EQ(age_of(timestamp_now(-3600 * 5)), "5h");
    EXPECT_EQ(age_of(timestamp_now(-86400 * 3)), "3d");
    EXPECT_EQ(age_of(""), "<unknown>");
    EXPECT_EQ(age_of("yesterday at seven o'clock"), "<unknown>");
}

std::string pod_word(std::string_view text) {
    const Object pod(pods(), json::parse(text).value(), 1);
    json::array cells;
    print_pod(pod, cells);
    EXPECT_EQ(cells.size(), pods().columns.size());
    return std::string(cells[1].get_string()) + " " + std::string(cells[2].get_string());
}

TEST(Printers, PodStatus) {
    EXPECT_EQ(
        pod_word(
            R"({"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Pending"}})"
        ),
        "0/1 Pending"
    );
    EXPECT_EQ(
        pod_word(R"({"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Running",
        "containerStatuses":[{"ready":true,"state":{"running":{}}}]}})"),
        "1/1 Running"
    );
    EXPECT_EQ(
        pod_word(R"({"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Failed",
        "reason":"UnexpectedAdmissionError"}})"),
        "0/1 UnexpectedAdmissionError"
    );
    EXPECT_EQ(
        pod_word(R"({"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Pending",
        "containerStatuses":[{"state":{"waiting":{"reason":"ContainerCreating"}}}]}})"),
        "0/1 ContainerCreating"
    );
    EXPECT_EQ(
        pod_word(R"({"metadata":{"name":"p","deletionTimestamp":"x"},"spec":{"containers":[{}]},
        "status":{"phase":"Running"}})"),
        "0/1 Terminating"
    );
    EXPECT_EQ(
        pod_word(
            R"({"metadata":{"name":"p"},"spec":{"initContainers":[{"name":"i"}],"containers":[{}]},
        "status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}}]}})"
        ),
        "0/1 Init:0/1"
    );
    EXPECT_EQ(
        pod_word(
            R"({"metadata":{"name":"p"},"spec":{"containers":[{}]},"status":{"phase":"Succeeded",
        "containerStatuses":[{"state":{"terminated":{"reason":"Completed","exitCode":0}}}]}})"
        ),
        "0/1 Completed"
    );
}

}  // namespace
}  // namespace egpu::testing
