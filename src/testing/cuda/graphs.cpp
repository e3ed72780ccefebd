// Graphs as data: made, taken apart, asked about.
#include <algorithm>
#include <cstdio>

#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {

Graph* graph_of(CUgraph handle) {
    auto* graph = reinterpret_cast<Graph*>(handle);
    return graph != nullptr && graph->live == Graph::kLive ? graph : nullptr;
}

Node* node_of(CUgraphNode handle) {
    auto* node = reinterpret_cast<Node*>(handle);
    return node != nullptr && node->live == Node::kLive ? node : nullptr;
}

Graph* make_graph() {
    Graph* graph = Stable<Graph>::make();
    graph->live = Graph::kLive;
    return graph;
}

void destroy_graph(Graph* graph) {
    for (Node* node : graph->nodes) {
        if (node->task.child != nullptr) destroy_graph(node->task.child);
        Stable<Node>::drop(node);
    }
    Stable<Graph>::drop(graph);
}

CUresult add_node(Graph* graph, const std::vector<Node*>& dependencies, Task task, Node*& out) {
    for (const Node* before : dependencies) REQUIRE(before->graph == graph);
    Node* node = Stable<Node>::make();
    node->live = Node::kLive;
    node->graph = graph;
    node->task = std::move(task);
    node->dependencies = dependencies;
    graph->nodes.push_back(node);
    out = node;
    return CUDA_SUCCESS;
}

Graph* clone_graph(const Graph* graph, std::map<const Node*, Node*>* copies) {
    std::map<const Node*, Node*> own;
    auto& made = copies != nullptr ? *copies : own;
    Graph* clone = make_graph();
    for (const Node* node : graph->nodes) {
        Node* copy = Stable<Node>::make();
        copy->live = Node::kLive;
        copy->graph = clone;
        copy->task = node->task;
        if (copy->task.child != nullptr) copy->task.child = clone_graph(copy->task.child);
        made[node] = copy;
        clone->nodes.push_back(copy);
    }
    for (const Node* node : graph->nodes) {
        for (const Node* before : node->dependencies)
            made[node]->dependencies.push_back(made[before]);
    }
    return clone;
}

bool ordered(const Graph& graph, std::vector<Node*>& out) {
    std::map<const Node*, std::size_t> missing;
    std::map<const Node*, std::vector<Node*>> after;
    std::deque<Node*> ready;
    for (Node* node : graph.nodes) {
        missing[node] = node->dependencies.size();
        for (const Node* before : node->dependencies) after[before].push_back(node);
        if (node->dependencies.empty()) ready.push_back(node);
    }
    out.clear();
    while (!ready.empty()) {
        Node* node = ready.front();
        ready.pop_front();
        out.push_back(node);
        for (Node* next : after[node]) {
            if (--missing[next] == 0) ready.push_back(next);
        }
    }
    return out.size() == graph.nodes.size();
}

namespace {

CUgraphNode handle_of(Node* node) {
    return reinterpret_cast<CUgraphNode>(node);
}

// The driver's way to give lists: null asks for the count; what is beyond the end becomes null.
void give(const std::vector<Node*>& list, CUgraphNode* out, std::size_t* count) {
    if (out == nullptr) {
        *count = list.size();
        return;
    }
    for (std::size_t i = 0; i < *count; ++i)
        out[i] = i < list.size() ? handle_of(list[i]) : nullptr;
    *count = std::min(*count, list.size());
}

std::vector<Node*> dependents(const Node* node) {
    std::vector<Node*> list;
    for (Node* other : node->graph->nodes) {
        const auto& before = other->dependencies;
        if (std::find(before.begin(), before.end(), node) != before.end()) list.push_back(other);
    }
    return list;
}

CUresult edges(CUgraph handle, CUgraphNode* from, CUgraphNode* to, std::size_t* count) {
    Graph* graph = graph_of(handle);
    REQUIRE(graph != nullptr && count != nullptr && (from == nullptr) == (to == nullptr));
    std::vector<Node*> froms;
    std::vector<Node*> tos;
    for (Node* node : graph->nodes) {
        for (Node* before : node->dependencies) {
            froms.push_back(before);
            tos.push_back(node);
        }
    }
    std::size_t second = *count;
    give(froms, from, count);
    if (to != nullptr) give(tos, to, &second);
    return CUDA_SUCCESS;
}

CUresult connect(
    CUgraph handle, const CUgraphNode* from, const CUgraphNode* to, std::size_t count, bool add
) {
    Graph* graph = graph_of(handle);
    REQUIRE(graph != nullptr && (count == 0 || (from != nullptr && to != nullptr)));
    for (std::size_t i = 0; i < count; ++i) {
        Node* before = node_of(from[i]);
        Node* after = node_of(to[i]);
        REQUIRE(before != nullptr && after != nullptr && before != after);
        REQUIRE(before->graph == graph && after->graph == graph);
        auto& list = after->dependencies;
        const auto found = std::find(list.begin(), list.end(), before);
        REQUIRE((found == list.end()) == add);
        if (add) {
            list.push_back(before);
        } else {
            list.erase(found);
        }
    }
    return CUDA_SUCCESS;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

#define LOCKED() const std::lock_guard lock(engine().mutex)
#define GRAPH(name, handle)         \
    LOCKED();                       \
    Graph* name = graph_of(handle); \
    REQUIRE(name != nullptr)
#define NODE(name, handle)        \
    LOCKED();                     \
    Node* name = node_of(handle); \
    REQUIRE(name != nullptr)

CU(cuGraphCreate)(CUgraph* out, unsigned flags) {
    ENTER();
    REQUIRE(out != nullptr && flags == 0);
    LOCKED();
    *out = reinterpret_cast<CUgraph>(make_graph());
    return CUDA_SUCCESS;
}
CU(cuGraphDestroy)(CUgraph handle) {
    ENTER();
    GRAPH(graph, handle);
    destroy_graph(graph);
    return CUDA_SUCCESS;
}
CU(cuGraphClone)(CUgraph* out, CUgraph handle) {
    ENTER();
    REQUIRE(out != nullptr);
    GRAPH(graph, handle);
    for (const Node* node : graph->nodes) {
        const bool memory = node->task.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
                            node->task.type == CU_GRAPH_NODE_TYPE_MEM_FREE;
        if (memory) return CUDA_ERROR_NOT_SUPPORTED;
    }
    *out = reinterpret_cast<CUgraph>(clone_graph(graph));
    return CUDA_SUCCESS;
}
CU(cuGraphGetNodes)(CUgraph handle, CUgraphNode* out, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    GRAPH(graph, handle);
    give(graph->nodes, out, count);
    return CUDA_SUCCESS;
}
CU(cuGraphGetRootNodes)(CUgraph handle, CUgraphNode* out, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    GRAPH(graph, handle);
    std::vector<Node*> roots;
    for (Node* node : graph->nodes) {
        if (node->dependencies.empty()) roots.push_back(node);
    }
    give(roots, out, count);
    return CUDA_SUCCESS;
}
CU(cuGraphGetEdges)(CUgraph graph, CUgraphNode* from, CUgraphNode* to, std::size_t* count) {
    ENTER();
    LOCKED();
    return edges(graph, from, to, count);
}
CU(cuGraphGetEdges_v2)
(CUgraph graph, CUgraphNode* from, CUgraphNode* to, std::uint64_t* data, std::size_t* count) {
    ENTER();
    LOCKED();
    const CUresult result = edges(graph, from, to, count);
    for (std::size_t i = 0; result == CUDA_SUCCESS && data != nullptr && i < *count; ++i)
        data[i] = 0;
    return result;
}
CU(cuGraphNodeGetType)(CUgraphNode handle, CUgraphNodeType* type) {
    ENTER();
    REQUIRE(type != nullptr);
    NODE(node, handle);
    *type = node->task.type;
    return CUDA_SUCCESS;
}
CU(cuGraphNodeGetDependencies)(CUgraphNode handle, CUgraphNode* out, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    NODE(node, handle);
    give(node->dependencies, out, count);
    return CUDA_SUCCESS;
}
CU(cuGraphNodeGetDependencies_v2)
(CUgraphNode handle, CUgraphNode* out, std::uint64_t* data, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    NODE(node, handle);
    give(node->dependencies, out, count);
    for (std::size_t i = 0; data != nullptr && i < *count; ++i) data[i] = 0;
    return CUDA_SUCCESS;
}
CU(cuGraphNodeGetDependentNodes)(CUgraphNode handle, CUgraphNode* out, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    NODE(node, handle);
    give(dependents(node), out, count);
    return CUDA_SUCCESS;
}
CU(cuGraphNodeGetDependentNodes_v2)
(CUgraphNode handle, CUgraphNode* out, std::uint64_t* data, std::size_t* count) {
    ENTER();
    REQUIRE(count != nullptr);
    NODE(node, handle);
    give(dependents(node), out, count);
    for (std::size_t i = 0; data != nullptr && i < *count; ++i) data[i] = 0;
    return CUDA_SUCCESS;
}
CU(cuGraphAddDependencies)
(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to, std::size_t count) {
    ENTER();
    LOCKED();
    return connect(graph, from, to, count, true);
}
CU(cuGraphAddDependencies_v2)
(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to, const void*, std::size_t count) {
    ENTER();
    LOCKED();
    return connect(graph, from, to, count, true);
}
CU(cuGraphRemoveDependencies)
(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to, std::size_t count) {
    ENTER();
    LOCKED();
    return connect(graph, from, to, count, false);
}
CU(cuGraphRemoveDependencies_v2)
(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to, const void*, std::size_t count) {
    ENTER();
    LOCKED();
    return connect(graph, from, to, count, false);
}
CU(cuGraphDestroyNode)(CUgraphNode handle) {
    ENTER();
    NODE(node, handle);
    for (Node* other : node->graph->nodes) std::erase(other->dependencies, node);
    std::erase(node->graph->nodes, node);
    if (node->task.child != nullptr) destroy_graph(node->task.child);
    Stable<Node>::drop(node);
    return CUDA_SUCCESS;
}
CU(cuGraphChildGraphNodeGetGraph)(CUgraphNode handle, CUgraph* out) {
    ENTER();
    REQUIRE(out != nullptr);
    NODE(node, handle);
    REQUIRE(node->task.child != nullptr);
    *out = reinterpret_cast<CUgraph>(node->task.child);
    return CUDA_SUCCESS;
}
CU(cuGraphDebugDotPrint)(CUgraph handle, const char* path, unsigned) {
    ENTER();
    REQUIRE(path != nullptr);
    GRAPH(graph, handle);
    std::FILE* out = std::fopen(path, "we");
    REQUIRE(out != nullptr);
    std::fputs("digraph dot {\n", out);
    for (const Node* node : graph->nodes) {
        std::fprintf(
            out, "\"%p\"[label=\"%d\"]\n", static_cast<const void*>(node), node->task.type
        );
        for (const Node* before : node->dependencies) {
            std::fprintf(
                out,
                "\"%p\" -> \"%p\"\n",
                static_cast<const void*>(before),
                static_cast<const void*>(node)
            );
        }
    }
    std::fputs("}\n", out);
    std::fclose(out);
    return CUDA_SUCCESS;
}
