#include "testing/apiserver/selectors.h"

#include <gtest/gtest.h>

namespace egpu::testing {
namespace {

Object make(std::string_view text, const Resource& resource = pods()) {
    return {resource, json::parse(text).value(), 1};
}

bool label_match(std::string_view selector, std::string_view labels) {
    auto parsed = LabelSelector::parse(selector);
    EXPECT_TRUE(static_cast<bool>(parsed)) << selector;
    return parsed->matches(
        make("{\"metadata\":{\"name\":\"p\",\"labels\":" + std::string(labels) + "}}")
    );
}

TEST(LabelSelector, AllForms) {
    const auto* labels = R"({"app":"a","tier":"web","empty":""})";
    EXPECT_TRUE(label_match("", labels));
    EXPECT_TRUE(label_match("app=a", labels));
    EXPECT_TRUE(label_match("app==a", labels));
    EXPECT_FALSE(label_match("app=b", labels));
    EXPECT_TRUE(label_match("app!=b", labels));
    EXPECT_TRUE(label_match("missing!=b", labels)) << "!= holds for objects without the key";
    EXPECT_TRUE(label_match("app in (x, a)", labels));
    EXPECT_FALSE(label_match("app in (x)", labels));
    EXPECT_TRUE(label_match("missing notin (x)", labels));
    EXPECT_FALSE(label_match("app notin (a,b)", labels));
    EXPECT_TRUE(label_match("app", labels));
    EXPECT_FALSE(label_match("!app", labels));
    EXPECT_TRUE(label_match("!missing", labels));
    EXPECT_TRUE(label_match("empty=", labels));
    EXPECT_TRUE(label_match("app in (a,b), tier=web, !missing", labels));
    EXPECT_FALSE(label_match("app in (a,b),tier=db", labels));
}

TEST(LabelSelector, RefusesNonsense) {
    for (const auto* text : {"app in a", "app within (a)", "a b", "in (a)", "!", "=x"}) {
        EXPECT_FALSE(static_cast<bool>(LabelSelector::parse(text))) << text;
    }
}

bool field_match(std::string_view selector, const Object& object) {
    auto parsed = FieldSelector::parse(object.resource(), selector);
    EXPECT_TRUE(static_cast<bool>(parsed)) << selector;
    return parsed->matches(object);
}

TEST(FieldSelector, Pods) {
    const Object pod = make(
        R"({"metadata":{"name":"p","namespace":"d"},"spec":{"nodeName":"n1"},"status":{"phase":"Running"}})"
    );
    EXPECT_TRUE(field_match("spec.nodeName=n1", pod));
    EXPECT_TRUE(field_match("status.phase!=Succeeded,status.phase!=Failed", pod));
    EXPECT_FALSE(field_match("status.phase!=Running", pod));
    EXPECT_TRUE(field_match("metadata.name==p,metadata.namespace=d", pod));
    EXPECT_TRUE(field_match("spec.schedulerName=", pod)) << "missing is the empty string";
    EXPECT_FALSE(static_cast<bool>(FieldSelector::parse(pods(), "spec.image=x")));
    EXPECT_FALSE(static_cast<bool>(FieldSelector::parse(pods(), "status.phase>x")));
    const auto failed = FieldSelector::parse(pods(), "spec.image=x");
    EXPECT_EQ(failed.failure().code, 400);
    EXPECT_NE(
        failed.failure().message.find("field label not supported: spec.image"), std::string::npos
    );
}

TEST(FieldSelector, NodesAndEvents) {
    const Object node = make(R"({"metadata":{"name":"n"},"spec":{"unschedulable":true}})", nodes());
    EXPECT_TRUE(field_match("spec.unschedulable=true", node));
    EXPECT_TRUE(
        field_match("spec.unschedulable=false", make(R"({"metadata":{"name":"n"}})", nodes()))
    );
    EXPECT_FALSE(static_cast<bool>(FieldSelector::parse(nodes(), "metadata.namespace=x")));
    const Object event = make(
        R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","uid":"u"},)"
        R"("type":"Warning","reason":"FailedScheduling","source":{"component":"s"}})",
        *find_plural("events")
    );
    EXPECT_TRUE(
        field_match("involvedObject.name=p,involvedObject.uid=u,type=Warning,source=s", event)
    );
    EXPECT_FALSE(field_match("reason!=FailedScheduling", event));
}

}  // namespace
}  // namespace egpu::testing
