// Loading by the manifest and the program's own constants; prefill in chunks.
#include "runner/model.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <memory>

#include "runner/fault.h"
#include "runner/json.h"
#include "runner/log.h"
#include "runner/program.h"
#include "runner/weights_cache.h"

namespace pocketlm {

using executorch::aten::ScalarType;
using executorch::aten::TensorImpl;
using executorch::aten::TensorShapeDynamism;
using executorch::runtime::BackendOptions;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::LoadBackendOptionsMap;
using std::filesystem::path;

struct Model::Program {
  std::unique_ptr<MappedProgram> mapped;
  std::unique_ptr<LoadedMethod> forward;
};

namespace {

// Tokens whose rows of the table stay mapped. Linux maps some hundred KiB around each page that is read (measured: up to a
// MiB a token); letting go, and reading the small constants again, takes less than a millisecond.
constexpr int64_t kDropAfter = 16;

path program_path(const path& given) {
  const path file = is_directory(given) ? given / "model.pte" : given;
  if (!is_regular_file(file)) {
    throw Fault(ExitCode::bad_input, file.string() + " is not there; name a package's folder or its model.pte");
  }
  return file;
}

// The kind of context and the stop ids stand in the manifest alone.
void read_manifest(ModelFacts& facts, bool is_endless) {
  facts.is_bounded = !is_endless;
  std::ifstream in(facts.path.parent_path() / "manifest.json", std::ios::binary);
  if (!in) return;
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Json manifest = Json::parse(text, (facts.path.parent_path() / "manifest.json").string());
  const std::string kind = manifest["context"]["kind"].text("the manifest's context.kind");
  if (kind != "bounded" && kind != "endless") {
    throw Fault(ExitCode::bad_input, "the manifest's context.kind is '" + kind + "'; this runner knows bounded and "
                                     "endless: use the pocketlm that wrote the package");
  }
  facts.is_bounded = kind == "bounded";
  for (const Json& id : manifest["tokenizer"]["stop_ids"].items("the manifest's tokenizer.stop_ids")) {
    facts.stop_ids.insert(id.integer("a stop id"));
  }
}

int64_t constant(const MappedProgram& program, const path& file, const char* name) {
  const std::vector<int64_t> values = program.constants(name);
  if (values.size() == 1 && values[0] > 0) return values[0];
  throw Fault(ExitCode::bad_input, file.string() + " is no language model of pocketlm: it says no " + name +
                                       "; export it with this version");
}

ModelFacts facts_of(const MappedProgram& program, const ModelOptions& options, const path& file) {
  ModelFacts facts;
  facts.path = file;
  facts.bytes = static_cast<int64_t>(file_size(file));
  facts.chunk = constant(program, file, "get_max_seq_len");
  facts.context = constant(program, file, "get_max_context_len");
  facts.vocab_size = constant(program, file, "get_vocab_size");
  for (const int64_t id : program.constants("get_eos_ids")) facts.stop_ids.insert(id);
  const auto meta = program.program().method_meta("forward");
  if (!meta.ok() || meta->num_inputs() != 2 || meta->num_outputs() != 1) {
    throw Fault(ExitCode::bad_input, file.string() + " has no forward(tokens, position); export it with this version");
  }
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    facts.planned_bytes += meta->memory_planned_buffer_size(i).get();
  }
  read_manifest(facts, options.is_endless);
  return facts;
}

}  // namespace

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ModelFacts read_facts(const ModelOptions& options) {
  const path file = program_path(options.path);
  return facts_of(MappedProgram(file), options, file);
}

Model::Model(const ModelOptions& options) : program_(std::make_unique<Program>()) { load(options); }

Model::~Model() = default;

void Model::load(const ModelOptions& options) {
  const path file = program_path(options.path);
  std::unique_ptr<WeightsCache> cache;
  BackendOptions<2> xnnpack;
  LoadBackendOptionsMap backends;
  prepare_heap();
  if (!options.weights_cache.empty()) {
    cache = std::make_unique<WeightsCache>(options.weights_cache, file);
    // The option's names: backends/xnnpack/runtime/XNNPACKBackend.h of executorch 1.5.1, which the wheel leaves out.
    xnnpack.set_option("weight_cache_enabled", true);
    xnnpack.set_option("packed_cache_path", cache->packed_path().c_str());
    backends.set_options("XnnpackBackend", xnnpack.view());
    is_cache_reused_ = cache->is_reused();
  }
  const double start = now_ms();
  program_->mapped = std::make_unique<MappedProgram>(file);
  facts_ = facts_of(*program_->mapped, options, file);
  times_.map = now_ms() - start;
  {
    const PageDropper dropper(program_->mapped->file());
    program_->forward =
        std::make_unique<LoadedMethod>(program_->mapped->program(), file, "forward", &backends, options.tracer);
  }
  use_large_pages();
  times_.method = now_ms() - start - times_.map;
  if (cache) cache->keep();
  const double before = now_ms();
  const std::array<int64_t, 1> any_id{0};
  call(any_id, 0);  // position 0 is written again by whatever comes first
  times_.first_call = now_ms() - before;
  trim_heap();
}

std::span<const float> Model::run(std::span<const int64_t> ids, int64_t position) {
  if (ids.empty()) throw Fault(ExitCode::bad_input, "there is nothing to run: no token ids were given");
  if (position < 0) {
    throw Fault(ExitCode::bad_input, "the position is " + std::to_string(position) + "; it must be 0 or more");
  }
  for (const int64_t id : ids) {
    if (id < 0 || id >= facts_.vocab_size) {
      throw Fault(ExitCode::bad_input, "the token id " + std::to_string(id) + " is not in the vocabulary; ids go from 0 to " +
                                           std::to_string(facts_.vocab_size - 1));
    }
  }
  if (facts_.is_bounded && position + static_cast<int64_t>(ids.size()) > facts_.context) {
    throw Fault(ExitCode::bad_input, "the tokens would reach position " + std::to_string(position + ids.size()) +
                                         " and this package is bounded to " + std::to_string(facts_.context) +
                                         "; send fewer, start again at position 0, or export an endless package");
  }
  std::span<const float> logits;
  while (!ids.empty()) {
    const size_t count = std::min(ids.size(), static_cast<size_t>(facts_.chunk));
    logits = call(ids.first(count), position);
    written_ += static_cast<int64_t>(count);
    if (written_ >= kDropAfter) {
      program_->mapped->file().drop_pages();
      written_ = 0;
    }
    position += static_cast<int64_t>(count);
    ids = ids.subspan(count);
  }
  return logits;
}

std::span<const float> Model::call(std::span<const int64_t> ids_T, int64_t position) {
  executorch::runtime::Method& method = program_->forward->method();
  std::array<TensorImpl::SizesType, 2> sizes{1, static_cast<TensorImpl::SizesType>(ids_T.size())};
  std::array<TensorImpl::DimOrderType, 2> order{0, 1};
  std::array<TensorImpl::StridesType, 2> strides{sizes[1], 1};
  std::array<TensorImpl::SizesType, 1> one{1};
  std::array<TensorImpl::DimOrderType, 1> one_order{0};
  std::array<TensorImpl::StridesType, 1> one_stride{1};
  TensorImpl tokens(ScalarType::Long, 2, sizes.data(), const_cast<int64_t*>(ids_T.data()), order.data(),
                    strides.data(), TensorShapeDynamism::DYNAMIC_BOUND);
  TensorImpl start(ScalarType::Long, 1, one.data(), &position, one_order.data(), one_stride.data());
  Error error = method.set_input(EValue(executorch::aten::Tensor(&tokens)), 0);
  if (error == Error::Ok) error = method.set_input(EValue(executorch::aten::Tensor(&start)), 1);
  if (error == Error::Ok) error = method.execute();
  if (error != Error::Ok) {
    throw Fault(ExitCode::bad_input, facts_.path.string() + " failed at position " + std::to_string(position) +
                                         " (error " + std::to_string(static_cast<int>(error)) + ": " +
                                         take_first_error() + "); export it again with this version");
  }
  const auto logits = method.get_output(0).toTensor();
  if (logits.scalar_type() != ScalarType::Float || logits.numel() < facts_.vocab_size) {
    throw Fault(ExitCode::bad_input, facts_.path.string() + " gives no float logits of " +
                                         std::to_string(facts_.vocab_size) + " ids; export it with this version");
  }
  return {logits.const_data_ptr<float>() + (logits.numel() - facts_.vocab_size),
          static_cast<size_t>(facts_.vocab_size)};
}

}  // namespace pocketlm
