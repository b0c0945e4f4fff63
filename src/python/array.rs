//! One NumPy array as a view of its numbers, and fresh arrays for results. The only file that reads Python's memory.
//!
//! Shape and strides are copied once: read a second time, they might have changed. Numbers are read where they lie. A
//! thread that writes to them during a call gets an unspecified number, never a crash: nothing that is read from floats
//! becomes an index, and the array is kept alive (NumPy refuses to resize an array that is referred to).

#![expect(unsafe_code, reason = "NumPy arrays are pointers; each block says why it may follow them")]

use std::ffi::c_int;
use std::ops::Range;

use half::{bf16, f16};
use numpy::npyffi::{NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, PY_ARRAY_API, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::input::{AnyView, View};

/// Numbers that a [`View`] can hold; any bits are a number.
pub(super) trait Plain: Copy {}

impl Plain for f16 {}
impl Plain for bf16 {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for i16 {}
impl Plain for i32 {}
impl Plain for i64 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// The types of floats that are read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    Bf16,
    F32,
    F64,
}

impl Kind {
    /// Of a native dtype, if it is one of them.
    pub(super) fn of(dtype: &Bound<'_, PyArrayDescr>) -> Option<Self> {
        match dtype.num() {
            23 => Some(Self::F16),
            11 => Some(Self::F32),
            12 => Some(Self::F64),
            // Numbers of user-defined dtypes are given in the order of their registration.
            256.. if dtype.itemsize() == 2 && dtype.typeobj().name().is_ok_and(|name| name == "bfloat16") => {
                Some(Self::Bf16)
            }
            _ => None,
        }
    }
}

/// Calls the body with the element type that a [`Kind`] stands for.
macro_rules! with_element {
    ($kind:expr, $element:ident => $body:expr) => {
        match $kind {
            $crate::python::array::Kind::F16 => {
                type $element = half::f16;
                $body
            }
            $crate::python::array::Kind::Bf16 => {
                type $element = half::bf16;
                $body
            }
            $crate::python::array::Kind::F32 => {
                type $element = f32;
                $body
            }
            $crate::python::array::Kind::F64 => {
                type $element = f64;
                $body
            }
        }
    };
}
pub(super) use with_element;

/// An array whose dtype is native and aligned, and whose last axis is contiguous.
pub(super) struct Array<'py> {
    pub(super) object: Bound<'py, PyUntypedArray>,
    pub(super) shape: Vec<usize>,
    /// In numbers.
    strides: Vec<isize>,
    pointer: *const u8,
    itemsize: usize,
}

impl<'py> Array<'py> {
    /// `None` where the array must be copied to be read.
    pub(super) fn new(object: &Bound<'py, PyUntypedArray>) -> Option<Self> {
        let dtype = object.dtype();
        let itemsize = dtype.itemsize();
        let shape = object.shape().to_vec();
        let mut strides = object.strides().to_vec();
        // SAFETY: the object is an array, and its struct is read while the GIL is held.
        let (flags, pointer) = unsafe {
            let raw = object.as_array_ptr();
            ((*raw).fields.flags, (*raw).fields.data as *const u8)
        };
        if dtype.is_native_byteorder() == Some(false) || shape.len() != strides.len() {
            return None;
        }
        // The stride of an axis of length 1 may be anything.
        for (stride, &length) in strides.iter_mut().zip(&shape) {
            if length <= 1 {
                *stride = 0;
            }
        }
        if !shape.contains(&0) {
            let last_is_contiguous =
                shape.last().is_none_or(|&length| length == 1) || strides.last() == Some(&(itemsize as isize));
            let in_steps = strides.iter().all(|stride| stride % itemsize as isize == 0);
            let aligned = flags & NPY_ARRAY_ALIGNED != 0 && pointer.addr() % itemsize.max(1) == 0;
            if !(last_is_contiguous && in_steps && aligned) {
                return None;
            }
        }
        for stride in &mut strides {
            *stride /= itemsize.max(1) as isize;
        }
        Some(Self { object: object.clone(), shape, strides, pointer, itemsize })
    }

    pub(super) fn dtype(&self) -> Bound<'py, PyArrayDescr> {
        self.object.dtype()
    }

    /// How far the numbers reach before and behind the first one, in bytes. `None` for an empty array.
    fn reach(&self) -> Option<(usize, usize)> {
        if self.shape.contains(&0) {
            return None;
        }
        let (mut before, mut behind) = (0usize, self.itemsize);
        for (&length, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (length - 1).checked_mul(stride.unsigned_abs())?.checked_mul(self.itemsize)?;
            if stride < 0 {
                before = before.checked_add(reach)?;
            } else {
                behind = behind.checked_add(reach)?;
            }
        }
        Some((before, behind))
    }

    /// The addresses that are read.
    pub(super) fn addresses(&self) -> Range<usize> {
        self.reach().map_or(0..0, |(before, behind)| self.pointer.addr() - before..self.pointer.addr() + behind)
    }

    /// The numbers as `T`, which must be what the dtype says.
    pub(super) fn view<T: Plain>(&self) -> View<'_, T> {
        assert_eq!(size_of::<T>(), self.itemsize, "the element type must be that of the array");
        let (data, offset): (&[T], usize) = match self.reach() {
            None => (&[], 0),
            Some((before, behind)) => {
                // SAFETY: NumPy vouches for every number of the array, which `new` found aligned and a whole number of
                // items apart; all of them lie between the two reaches, within one allocation that `self.object` keeps
                // alive. Any bits are a `T`. Writers in other threads are the caller's breach of the documented rule, and
                // change numbers only.
                let data = unsafe {
                    let first = self.pointer.sub(before).cast::<T>();
                    std::slice::from_raw_parts(first, (before + behind) / self.itemsize)
                };
                (data, before / self.itemsize)
            }
        };
        View::new(data, offset, &*self.shape, &*self.strides).expect("NumPy's strides stay within its memory")
    }

    /// The same, for whichever type of floats it holds.
    pub(super) fn any_view(&self, kind: Kind) -> AnyView<'_> {
        match kind {
            Kind::F16 => AnyView::F16(self.view()),
            Kind::Bf16 => AnyView::Bf16(self.view()),
            Kind::F32 => AnyView::F32(self.view()),
            Kind::F64 => AnyView::F64(self.view()),
        }
    }
}

/// An array that results are written to: C-contiguous, aligned, native and writeable, and nobody else's.
pub(super) struct Fresh<'py> {
    object: Bound<'py, PyUntypedArray>,
}

impl<'py> Fresh<'py> {
    /// A new array of zeros, or MemoryError.
    pub(super) fn zeros(py: Python<'py>, dtype: Bound<'py, PyArrayDescr>, shape: &[usize]) -> PyResult<Self> {
        let mut dimensions: Vec<npy_intp> = shape.iter().map(|&length| length as npy_intp).collect();
        // SAFETY: the dimensions are as many as is said; the reference to the dtype is handed over, as the function wants
        // it; it returns a new array or sets an exception.
        let object = unsafe {
            let array = PY_ARRAY_API.PyArray_Zeros(
                py,
                dimensions.len() as c_int,
                dimensions.as_mut_ptr(),
                dtype.into_dtype_ptr(),
                0,
            );
            Bound::from_owned_ptr_or_err(py, array)?
        };
        Ok(Self { object: object.cast_into::<PyUntypedArray>()? })
    }

    /// The caller's `out`, if results can be written straight into it. It must not overlap an array that is read, unless
    /// that array is read through this one.
    pub(super) fn adopt(object: &Bound<'py, PyUntypedArray>) -> Option<Self> {
        // SAFETY: the object is an array, and its struct is read while the GIL is held.
        let flags = unsafe { (*object.as_array_ptr()).fields.flags };
        let native = object.dtype().is_native_byteorder() != Some(false);
        let fits = flags & NPY_ARRAY_WRITEABLE != 0 && flags & NPY_ARRAY_ALIGNED != 0 && object.is_c_contiguous();
        (fits && native).then(|| Self { object: object.clone() })
    }

    /// The numbers as `E`, which must be what the dtype says.
    pub(super) fn numbers<E: Plain>(&mut self) -> &mut [E] {
        assert_eq!(size_of::<E>(), self.object.dtype().itemsize(), "the element type must be that of the array");
        let length = self.object.shape().iter().product();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: the array is C-contiguous, aligned and as long as its shape says; any bits are an `E`. It is either
        // new, so nobody else knows it, or an `out` that overlaps nothing that is read (see `adopt`).
        unsafe { std::slice::from_raw_parts_mut((*self.object.as_array_ptr()).fields.data.cast::<E>(), length) }
    }

    pub(super) fn into_object(self) -> Bound<'py, PyAny> {
        self.object.into_any()
    }
}
