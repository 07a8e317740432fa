// antiphon.scheduler._core: the scheduler's C++ core for Python. Its types and docstrings stand in _core.pyi.
#include <exception>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "page_pool.hpp"

namespace py = pybind11;

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

    py::class_<antiphon::PagePool>(module, "PagePool")
        .def(py::init<std::int64_t>(), py::arg("n_pages"))
        .def_property_readonly("n_pages", &antiphon::PagePool::n_pages)
        .def_property_readonly("free_pages", &antiphon::PagePool::free_pages)
        .def("allocate", &antiphon::PagePool::allocate, py::arg("n"))
        .def("retain", &antiphon::PagePool::retain, py::arg("pages"))
        .def("release", &antiphon::PagePool::release, py::arg("pages"))
        .def("references", &antiphon::PagePool::references, py::arg("page"));
}
