// What libtorch has and tch does not: each function calls one of libtorch's. In: pointers to tensors, which stay the caller's.
// Out: null, or the text of an exception, which the caller frees. Nothing is thrown across the boundary.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace {

// strdup'ed, so that free() is right for it.
char *caught(const std::function<void()> &work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}

using OptionalTensor = std::optional<at::Tensor>;
using LinearPointwise = at::Tensor(const at::Tensor &, const at::Tensor &, const OptionalTensor &, std::string_view,
                                   c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

// oneDNN's linear layer, which adds the bias in the matrix product itself; nothing in a libtorch that was built without oneDNN.
const std::optional<c10::TypedOperatorHandle<LinearPointwise>> &onednn_linear() {
  static const auto op = [] {
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    return found ? std::make_optional(found->typed<LinearPointwise>()) : std::nullopt;
  }();
  return op;
}

at::Tensor linear_forward(const at::Tensor &x, const at::Tensor &weight, const OptionalTensor &bias) {
  return onednn_linear()->call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

// y = x Wᵀ + b on the CPU in f32, as `torch::linear`, which leaves the product to MKL and writes the bias into its output first:
// two thirds to nine tenths of the speed (two cores of an AMD EPYC with AVX-512, layers of a ViT-S).
struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &x, const at::Tensor &weight,
                            const OptionalTensor &bias) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["has_bias"] = bias.has_value();
    return linear_forward(x, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 const torch::autograd::variable_list &grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &grad = grads[0];
    at::Tensor grad_x, grad_weight, grad_bias;
    if (ctx->needs_input_grad(0)) {
      grad_x = linear_forward(grad, weight.t(), std::nullopt);
    }
    const auto rows = grad.reshape({-1, grad.size(-1)});
    if (ctx->needs_input_grad(1)) {
      const auto inputs = x.reshape({-1, x.size(-1)});
      // In the layout of the weight, so that its gradient is not copied.
      grad_weight = weight.is_contiguous() ? rows.t().mm(inputs) : inputs.t().mm(rows).t();
    }
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2)) {
      grad_bias = rows.sum(0);
    }
    return {grad_x, grad_weight, grad_bias};
  }
};

} // namespace

extern "C" {

// y = x Wᵀ + b; `bias` may be null.
char *shim_linear(at::Tensor *x, at::Tensor *weight, at::Tensor *bias, at::Tensor **y) {
  return caught([&] {
    const auto b = bias ? OptionalTensor(*bias) : std::nullopt;
    const bool ours = x->device().is_cpu() && x->scalar_type() == at::kFloat && onednn_linear();
    *y = new at::Tensor(ours ? Linear::apply(*x, *weight, b) : at::linear(*x, *weight, b));
  });
}

// One step of AdamW; `step` is its number, from 1, and `grad_scale` what the gradients are divided by, both f32 scalars on the
// parameters' device.
char *shim_fused_adamw(at::Tensor *param, at::Tensor *grad, at::Tensor *exp_avg, at::Tensor *exp_avg_sq, at::Tensor *step,
                       at::Tensor *grad_scale, double lr, double beta1, double beta2, double weight_decay, double eps) {
  return caught([&] {
    at::_fused_adamw_({*param}, {*grad}, {*exp_avg}, {*exp_avg_sq}, {}, {*step}, lr, beta1, beta2, weight_decay, eps,
                      /*amsgrad=*/false, /*maximize=*/false, *grad_scale);
  });
}

// Backpropagates `grad`, the gradient with respect to `output`, into the leaf tensors that `output` was computed from.
char *shim_backward(at::Tensor *output, at::Tensor *grad) {
  return caught([&] { output->backward(*grad); });
}

// The ranks of a run, over TCP: a store at rank 0 where they find each other, and gloo.
struct Group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

// A group of `world` processes of which this is `rank`; comes back once all are there. `serves`: whether the store is this
// process's (and not one that serves already). Keys are prefixed by `prefix`.
char *shim_group_new(const char *host, uint16_t port, bool serves, const char *prefix, int rank, int world, int64_t timeout_ms,
                     Group **group) {
  return caught([&] {
    const std::chrono::milliseconds timeout(timeout_ms);
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.numWorkers = world;
    options.timeout = timeout;
    auto tcp = c10::make_intrusive<c10d::TCPStore>(host, options);
    auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(tcp));
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, world,
                                                            c10d::ProcessGroupGloo::Options::create_default(timeout));
    *group = new Group{std::move(gloo)};
  });
}

void shim_group_free(Group *group) { delete group; }

// Sums `tensor`, on the CPU, over all ranks, in place.
char *shim_group_sum(Group *group, at::Tensor *tensor) {
  return caught([&] {
    std::vector<at::Tensor> tensors{*tensor};
    group->gloo->allreduce(tensors)->wait();
  });
}

// The tensors of all ranks, [n], one after another in `all`, [world * n].
char *shim_group_gather(Group *group, at::Tensor *all, at::Tensor *own) {
  return caught([&] { group->gloo->_allgather_base(*all, *own)->wait(); });
}

} // extern "C"
