// Statuses: 0 or a negative Linux error number, one meaning each.

export const OK: i32 = 0;
/** No error has a larger number: what is further from 0 is a pointer above 2 GiB. */
export const MAX_ERRNO: i32 = 4095;
/** Refused: this regime does not allow it. */
export const EPERM: i32 = -1;
/** There is no such slot, or it keeps no log. */
export const ENOENT: i32 = -2;
/** A leaf is not possible at this level; go one level down. Never leaves the core. */
export const E2BIG: i32 = -7;
/** The race was lost, or there was nothing to do. */
export const EAGAIN: i32 = -11;
/** No memory for a table. */
export const ENOMEM: i32 = -12;
/** A table descriptor points outside the arena. */
export const EFAULT: i32 = -14;
/** Nested walks are too deep, or no slot is free. */
export const EBUSY: i32 = -16;
/** Something else is mapped there. */
export const EEXIST: i32 = -17;
/** An argument that can never be right. */
export const EINVAL: i32 = -22;
/** Outside the input or output address space. */
export const ERANGE: i32 = -34;
/** The wait for this lock would never end: this walker holds one that the wait depends on. */
export const EDEADLK: i32 = -35;
/** Another walker holds a lock or a read section and makes no progress: it may have died. */
export const ETIMEDOUT: i32 = -110;
