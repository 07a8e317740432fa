// antiphon.scheduler._core: the scheduler's C++ core for Python. Its types and docstrings stand in _core.pyi.
#include <exception>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "page_pool.hpp"
#include "scheduler.hpp"

namespace py = pybind11;
using antiphon::Plan;
using antiphon::Scheduler;
using Int32Array = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;

namespace {

template <typename T>
void read(const py::object& from, const char* name, T& into) {
    into = from.attr(name).cast<T>();
}

antiphon::Settings settings_of(const py::object& given) {
    antiphon::Settings settings{};
    read(given, "n_pages", settings.n_pages);
    read(given, "page_size", settings.page_size);
    read(given, "max_dialogues", settings.max_dialogues);
    read(given, "max_row_pages", settings.max_row_pages);
    read(given, "max_rows", settings.max_rows);
    read(given, "max_tokens", settings.max_tokens);
    read(given, "max_solves", settings.max_solves);
    read(given, "max_solve_frames", settings.max_solve_frames);
    read(given, "max_encodes", settings.max_encodes);
    read(given, "max_encode_frames", settings.max_encode_frames);
    read(given, "solve_steps", settings.solve_steps);
    read(given, "max_repeats", settings.max_repeats);
    read(given, "lm_seconds", settings.lm_seconds);
    read(given, "solve_seconds", settings.solve_seconds);
    read(given, "vocode_seconds", settings.vocode_seconds);
    read(given, "encode_seconds", settings.encode_seconds);
    read(given, "first_audio_seconds", settings.first_audio_seconds);
    read(given, "patience_seconds", settings.patience_seconds);
    read(given, "max_lead_seconds", settings.max_lead_seconds);
    read(given, "max_unread_seconds", settings.max_unread_seconds);
    read(given, "heard_slack_seconds", settings.heard_slack_seconds);
    read(given, "frame_seconds", settings.frame_seconds);
    return settings;
}

antiphon::Costs costs_of(const py::object& given) {
    antiphon::Costs costs;
    read(given, "lm_row", costs.lm_row);
    read(given, "prefill_token", costs.prefill_token);
    read(given, "solve_frame", costs.solve_frame);
    read(given, "solve_frame_squared", costs.solve_frame_squared);
    read(given, "vocode_frame", costs.vocode_frame);
    read(given, "encode_frame", costs.encode_frame);
    return costs;
}

// `PlanBuffers` has checked dtype, layout and shapes; `mutable_data` refuses what cannot be written.
std::int32_t* data_of(const py::object& buffers, const char* name) {
    return py::cast<py::array_t<std::int32_t, py::array::c_style>>(buffers.attr(name)).mutable_data();
}

antiphon::Buffers buffers_of(const py::object& given, const py::object& settings) {
    given.attr("check")(settings);
    antiphon::Buffers buffers{};
    buffers.lm_dialogues = data_of(given, "lm_dialogues");
    buffers.lm_ends = data_of(given, "lm_ends");
    buffers.cu_seqlens = data_of(given, "cu_seqlens");
    buffers.context_lens = data_of(given, "context_lens");
    buffers.block_tables = data_of(given, "block_tables");
    buffers.positions = data_of(given, "positions");
    buffers.slots = data_of(given, "slots");
    buffers.dropped = data_of(given, "dropped");
    buffers.paused = data_of(given, "paused");
    buffers.encodes = data_of(given, "encodes");
    buffers.solves = data_of(given, "solves");
    buffers.solve_steps = data_of(given, "solve_steps");
    buffers.vocodes = data_of(given, "vocodes");
    return buffers;
}

Scheduler::Rows rows_of(const std::optional<Int32Array>& given) {
    if (!given) {
        return std::nullopt;
    }
    return std::vector<std::int32_t>(given->data(), given->data() + given->size());
}

template <void (Scheduler::*done)(const Scheduler::Rows&)>
void rows_done(Scheduler& scheduler, const std::optional<Int32Array>& rows) {
    (scheduler.*done)(rows_of(rows));
}

void bind_page_pool(py::module_& module) {
    py::class_<antiphon::PagePool>(module, "PagePool")
        .def(py::init<std::int64_t>(), py::arg("n_pages"))
        .def_property_readonly("n_pages", &antiphon::PagePool::n_pages)
        .def_property_readonly("free_pages", &antiphon::PagePool::free_pages)
        .def("allocate", &antiphon::PagePool::allocate, py::arg("n"))
        .def("retain", &antiphon::PagePool::retain, py::arg("pages"))
        .def("release", &antiphon::PagePool::release, py::arg("pages"))
        .def("references", &antiphon::PagePool::references, py::arg("page"));
}

void bind_plan(py::module_& module) {
    py::class_<Plan>(module, "Plan")
        .def_readonly("lm_rows", &Plan::lm_rows)
        .def_readonly("lm_tokens", &Plan::lm_tokens)
        .def_readonly("lm_pages", &Plan::lm_pages)
        .def_readonly("dropped", &Plan::dropped)
        .def_readonly("encodes", &Plan::encodes)
        .def_readonly("solves", &Plan::solves)
        .def_readonly("solve_repeats", &Plan::solve_repeats)
        .def_readonly("vocodes", &Plan::vocodes)
        .def_readonly("paused", &Plan::paused)
        .def_readonly("wake", &Plan::wake);
}

void bind_scheduler(py::module_& module) {
    py::class_<Scheduler>(module, "Scheduler")
        .def(py::init([](const py::object& settings, const py::object& buffers) {
                 return std::make_unique<Scheduler>(settings_of(settings), buffers_of(buffers, settings));
             }),
             py::arg("settings"), py::arg("buffers"), py::keep_alive<1, 3>())
        .def_property_readonly("dialogues", &Scheduler::dialogues)
        .def_property_readonly("n_pages", &Scheduler::n_pages)
        .def_property_readonly("free_pages", &Scheduler::free_pages)
        .def_property_readonly("pinned_pages", &Scheduler::pinned_pages)
        .def("positions", &Scheduler::positions, py::arg("dialogue"))
        .def("pages", &Scheduler::pages, py::arg("dialogue"))
        .def("room", &Scheduler::room, py::arg("dialogue"))
        .def("playback", &Scheduler::playback, py::arg("dialogue"), py::arg("now"))
        .def("open", &Scheduler::open, py::arg("dialogue"), py::arg("now"), py::arg("prefix") = py::none())
        .def("close", &Scheduler::close, py::arg("dialogue"))
        .def("pin", &Scheduler::pin, py::arg("prefix"), py::arg("dialogue"), py::arg("positions"))
        .def("unpin", &Scheduler::unpin, py::arg("prefix"))
        .def("extend", &Scheduler::extend, py::arg("dialogue"), py::arg("n"))
        .def(
            "extend_each",
            [](Scheduler& scheduler, const Int32Array& dialogues) {
                scheduler.extend_each(dialogues.data(), static_cast<std::size_t>(dialogues.size()));
            },
            py::arg("dialogues"))
        .def("truncate", &Scheduler::truncate, py::arg("dialogue"), py::arg("length"))
        .def("drop", &Scheduler::drop, py::arg("dialogue"))
        .def("listen", &Scheduler::listen, py::arg("dialogue"), py::arg("now"))
        .def("encode", &Scheduler::encode, py::arg("dialogue"), py::arg("hearing"), py::arg("frames"),
             py::arg("since"))
        .def("commit", &Scheduler::commit, py::arg("dialogue"), py::arg("committed"))
        .def("chunk", &Scheduler::chunk, py::arg("dialogue"), py::arg("solve_frames"), py::arg("wave_frames"))
        .def("end", &Scheduler::end, py::arg("dialogue"))
        .def("finish", &Scheduler::finish, py::arg("dialogue"), py::arg("now"))
        .def("cancel", &Scheduler::cancel, py::arg("dialogue"), py::arg("length"), py::arg("now"))
        .def("sent", &Scheduler::sent, py::arg("dialogue"), py::arg("seconds"), py::arg("now"))
        .def("heard", &Scheduler::heard, py::arg("dialogue"), py::arg("seconds"), py::arg("now"))
        .def("read", &Scheduler::read, py::arg("dialogue"), py::arg("seconds"))
        .def(
            "set_costs",
            [](Scheduler& scheduler, const py::object& costs) { scheduler.set_costs(costs_of(costs)); },
            py::arg("costs"))
        .def("plan", &Scheduler::plan, py::arg("now"), py::arg("lm") = true, py::arg("speech") = true,
             py::arg("hear") = true, py::call_guard<py::gil_scoped_release>())
        .def("lm_done", &rows_done<&Scheduler::lm_done>, py::arg("rows") = py::none())
        .def("solves_done", &rows_done<&Scheduler::solves_done>, py::arg("rows") = py::none())
        .def("vocodes_done", &rows_done<&Scheduler::vocodes_done>, py::arg("rows") = py::none())
        .def("encodes_done", &rows_done<&Scheduler::encodes_done>, py::arg("rows") = py::none());
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "The scheduler's core.";

    // The exception's class lives in Python, so that the Python twin raises the very same one.
    module.attr("OutOfPages") = py::module_::import("antiphon.scheduler.errors").attr("OutOfPages");
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) {
                std::rethrow_exception(thrown);
            }
        } catch (const antiphon::OutOfPages& error) {
            const py::object type = py::module_::import("antiphon.scheduler.errors").attr("OutOfPages");
            PyErr_SetObject(type.ptr(), type(error.asked, error.free, error.total).ptr());
        }
    });

    bind_page_pool(module);
    bind_plan(module);
    bind_scheduler(module);
}
