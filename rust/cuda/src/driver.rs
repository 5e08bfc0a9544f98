// SPDX-License-Identifier: Apache-2.0
//! CUDA's driver: loaded once in a process, with one context for each GPU that is used.
#![expect(unsafe_code, reason = "calls functions of a C library")]

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::null_mut;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tritongw_types::{CudaIpcHandle, Error, Result};

use crate::gpu::Gpu;
use crate::library::functions;
use crate::status::{check, copied, text_in};

type Device = c_int;
type Context = *mut c_void;
pub(crate) type Stream = *mut c_void;
pub(crate) type Event = *mut c_void;
pub(crate) type DeviceAddress = u64;

/// A handle of memory as the driver takes it: by value.
#[repr(C)]
pub(crate) struct IpcHandle(pub(crate) CudaIpcHandle);

functions! {
    /// The functions that are used; `_v2` names are what the headers call without it.
    struct Functions from "libcuda.so.1" {
        init: "cuInit" (c_uint);
        error_string: "cuGetErrorString" (c_int, *mut *const c_char);
        device_count: "cuDeviceGetCount" (*mut c_int);
        device: "cuDeviceGet" (*mut Device, c_int);
        device_name: "cuDeviceGetName" (*mut c_char, c_int, Device);
        device_uuid: "cuDeviceGetUuid_v2" (*mut [u8; 16], Device);
        device_attribute: "cuDeviceGetAttribute" (*mut c_int, c_int, Device);
        retain_context: "cuDevicePrimaryCtxRetain" (*mut Context, Device);
        push_context: "cuCtxPushCurrent_v2" (Context);
        pop_context: "cuCtxPopCurrent_v2" (*mut Context);
        copy_to_host: "cuMemcpyDtoH_v2" (*mut c_void, DeviceAddress, usize);
        copy_to_device: "cuMemcpyHtoD_v2" (DeviceAddress, *const c_void, usize);
        address_range: "cuMemGetAddressRange_v2" (*mut DeviceAddress, *mut usize, DeviceAddress);
        open_handle: "cuIpcOpenMemHandle_v2" (*mut DeviceAddress, IpcHandle, c_uint);
        close_handle: "cuIpcCloseMemHandle" (DeviceAddress);
        synchronize_stream: "cuStreamSynchronize" (Stream);
        wait_for_event: "cuStreamWaitEvent" (Stream, Event, c_uint);
        create_event: "cuEventCreate" (*mut Event, c_uint);
        record_event: "cuEventRecord" (Event, Stream);
        destroy_event: "cuEventDestroy_v2" (Event);
    }
}

const NO_DEVICE: c_int = 100;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// CUDA's driver, ready to be used.
pub struct Driver {
    functions: Functions,
    device_count: c_int,
    // Primary contexts, which the CUDA runtime of frameworks in this process uses too; kept until
    // the process ends.
    contexts: Mutex<BTreeMap<i32, PrimaryContext>>,
}

#[derive(Clone, Copy)]
struct PrimaryContext(Context);

// SAFETY: a context may be made current on any thread.
unsafe impl Send for PrimaryContext {}

impl Driver {
    /// Returns the process's driver, which is loaded when first asked for.
    ///
    /// # Errors
    /// `Unavailable` if there is none, or why it does not work.
    pub fn get() -> Result<&'static Self> {
        // Of the process, as CUDA itself is.
        static DRIVER: OnceLock<Result<Driver>> = OnceLock::new();
        DRIVER
            .get_or_init(Self::load)
            .as_ref()
            .map_err(Error::clone)
    }

    fn load() -> Result<Self> {
        let functions = Functions::load()?;
        let mut driver = Self {
            functions,
            device_count: 0,
            contexts: Mutex::default(),
        };
        // SAFETY: initialises the driver, from any thread, with no flags there are.
        let status = unsafe { (driver.functions.init)(0) };
        if status == NO_DEVICE {
            return Ok(driver);
        }
        driver.check("initialise CUDA", status)?;
        let mut count = 0;
        // SAFETY: writes one number.
        let status = unsafe { (driver.functions.device_count)(&raw mut count) };
        driver.check("count the GPUs", status)?;
        driver.device_count = count;
        Ok(driver)
    }

    /// Returns the GPUs that this process may see, by their numbers; those that cannot be asked
    /// are left out, with a warning.
    pub fn gpus(&self) -> Vec<Gpu> {
        let mut gpus = Vec::new();
        for id in 0..self.device_count {
            match self.describe(id) {
                Ok(gpu) => gpus.push(gpu),
                Err(error) => log::warn!("GPU {id} is not used: {error}"),
            }
        }
        gpus
    }

    fn describe(&self, id: i32) -> Result<Gpu> {
        let device = self.device(id)?;
        let mut name = [0_u8; 256];
        let mut uuid = [0_u8; 16];
        // SAFETY: both write no more than the buffer that is named holds.
        let (named, identified) = unsafe {
            let functions = &self.functions;
            (
                (functions.device_name)(name.as_mut_ptr().cast(), 256, device),
                (functions.device_uuid)(&raw mut uuid, device),
            )
        };
        self.check("get the name of a GPU", named)?;
        self.check("get the UUID of a GPU", identified)?;
        Ok(Gpu {
            id,
            name: text_in(&name),
            uuid,
            compute_capability: (
                self.attribute(COMPUTE_CAPABILITY_MAJOR, device)?,
                self.attribute(COMPUTE_CAPABILITY_MINOR, device)?,
            ),
        })
    }

    fn attribute(&self, attribute: c_int, device: Device) -> Result<i32> {
        let mut value = 0;
        // SAFETY: writes one number.
        let status =
            unsafe { (self.functions.device_attribute)(&raw mut value, attribute, device) };
        self.check("get an attribute of a GPU", status)?;
        Ok(value)
    }

    fn device(&self, id: i32) -> Result<Device> {
        let mut device = 0;
        // SAFETY: writes one number.
        let status = unsafe { (self.functions.device)(&raw mut device, id) };
        self.check(&format!("find GPU {id}"), status)?;
        Ok(device)
    }

    /// Runs CUDA calls on a GPU: its context is current in this thread meanwhile.
    pub(crate) fn on_gpu<T>(
        &self,
        id: i32,
        run: impl FnOnce(&Functions) -> Result<T>,
    ) -> Result<T> {
        let PrimaryContext(context) = self.context(id)?;
        // SAFETY: a context of this process, never released.
        let status = unsafe { (self.functions.push_context)(context) };
        self.check(&format!("use GPU {id}"), status)?;
        let _pushed = Pushed(&self.functions);
        run(&self.functions)
    }

    fn context(&self, id: i32) -> Result<PrimaryContext> {
        let mut contexts = self.contexts.lock();
        if let Some(context) = contexts.get(&id) {
            return Ok(*context);
        }
        let device = self.device(id)?;
        let mut context = null_mut();
        // SAFETY: writes one pointer.
        let status = unsafe { (self.functions.retain_context)(&raw mut context, device) };
        self.check(&format!("open GPU {id}"), status)?;
        contexts.insert(id, PrimaryContext(context));
        Ok(PrimaryContext(context))
    }

    /// Turns a status into a result.
    pub(crate) fn check(&self, what: &str, status: c_int) -> Result<()> {
        check(what, status, |status| {
            let mut text = std::ptr::null();
            // SAFETY: gives a static text, or leaves it null for a status it does not know.
            unsafe {
                (self.functions.error_string)(status, &raw mut text);
                copied(text)
            }
        })
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("device_count", &self.device_count)
            .finish_non_exhaustive()
    }
}

/// Makes the thread's context what it was before.
struct Pushed<'a>(&'a Functions);

impl Drop for Pushed<'_> {
    fn drop(&mut self) {
        let mut context = null_mut();
        // SAFETY: takes off what was pushed on this thread before, and writes one pointer.
        unsafe { (self.0.pop_context)(&raw mut context) };
    }
}
