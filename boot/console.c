/*
 * Lines for a person, before the hypervisor has a console of its own: directly
 * to COM1, and through the firmware to the screens. The firmware's console
 * may itself write to COM1, with escape sequences; so only those of its outputs
 * are used whose device path has no UART in it.
 */
#include "boot/efi.h"
#include "lib/fmt.h"

/* 16550 registers at COM1 (PC16550D data sheet). */
#define COM1          0x3f8
#define COM1_DATA     (COM1 + 0)
#define COM1_ENABLE   (COM1 + 1)
#define COM1_FIFO     (COM1 + 2)
#define COM1_LINE     (COM1 + 3)
#define COM1_MODEM    (COM1 + 4)
#define COM1_STATUS   (COM1 + 5)
#define COM1_SCRATCH  (COM1 + 7)
#define LINE_8N1      0x03
#define LINE_DIVISOR  0x80
#define MODEM_READY   0x03 /* DTR, RTS */
#define FIFO_ON_CLEAR 0x07
#define STATUS_EMPTY  0x20 /* the transmitter takes a byte */
#define STATUS_IDLE   0x40 /* all bytes are on the line */
/* A UART that does not become ready within this many reads is broken. */
#define READY_TRIES 1000000u

/* Bochs leaves when it reads this, byte by byte, at this port. */
#define BOCHS_PORT 0x8900

#define SCREEN_MAX 8

static bool com1_present;
static SIMPLE_TEXT_OUTPUT_INTERFACE *screens[SCREEN_MAX];
static unsigned screen_count;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void com1_open(void)
{
    out8(COM1_SCRATCH, 0x5a);
    if (in8(COM1_SCRATCH) != 0x5a)
        return;
    out8(COM1_ENABLE, 0);
    out8(COM1_LINE, LINE_8N1 | LINE_DIVISOR);
    out8(COM1_DATA, 1); /* 115200 */
    out8(COM1_ENABLE, 0);
    out8(COM1_LINE, LINE_8N1);
    out8(COM1_FIFO, FIFO_ON_CLEAR);
    out8(COM1_MODEM, MODEM_READY);
    com1_present = true;
}

static void com1_wait(uint8_t status)
{
    for (unsigned i = 0; i < READY_TRIES && !(in8(COM1_STATUS) & status); i++)
        ;
}

static void com1_put(char c)
{
    com1_wait(STATUS_EMPTY);
    out8(COM1_DATA, (uint8_t)c);
}

static bool path_has_uart(const EFI_DEVICE_PATH *node)
{
    while (node->Type != END_DEVICE_PATH_TYPE) {
        unsigned length = node->Length[0] | (unsigned)node->Length[1] << 8;
        if (node->Type == MESSAGING_DEVICE_PATH && node->SubType == MSG_UART_DP)
            return true;
        if (length < sizeof(*node))
            return true;
        node = (const EFI_DEVICE_PATH *)((const char *)node + length);
    }
    return false;
}

static void screens_open(void)
{
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    EFI_GUID output = EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL_GUID, path = EFI_DEVICE_PATH_PROTOCOL_GUID;
    EFI_HANDLE *handles;
    UINTN count;
    if (services->LocateHandleBuffer(ByProtocol, &output, NULL, &count, &handles) != EFI_SUCCESS)
        return;
    for (UINTN i = 0; i < count && screen_count < SCREEN_MAX; i++) {
        void *device_path, *screen;
        if (services->HandleProtocol(handles[i], &path, &device_path) == EFI_SUCCESS &&
            !path_has_uart(device_path) &&
            services->HandleProtocol(handles[i], &output, &screen) == EFI_SUCCESS)
            screens[screen_count++] = screen;
    }
    services->FreePool(handles);
}

void console_open(void)
{
    com1_open();
    screens_open();
}

void console_leave_screens(void)
{
    screen_count = 0;
}

static void put(char c)
{
    CHAR16 text[2] = { (CHAR16)(unsigned char)c, 0 };
    if (com1_present)
        com1_put(c);
    for (unsigned i = 0; i < screen_count; i++)
        screens[i]->OutputString(screens[i], text);
}

static void print_line(const char *format, va_list args)
{
    char line[512];
    fmt_vprint(line, sizeof(line), format, args);
    for (const char *at = line; *at; at++)
        put(*at);
    put('\r');
    put('\n');
}

void console_line(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
}

/* Every way off there is; the last one is to stand still. */
static _Noreturn void power_off(void)
{
    if (com1_present)
        com1_wait(STATUS_IDLE);
    for (const char *at = "Shutdown"; *at; at++)
        out8(BOCHS_PORT, (uint8_t)*at);
    efi_system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void loader_fail(const char *format, ...)
{
    char reason[400];
    va_list args;
    va_start(args, format);
    fmt_vprint(reason, sizeof(reason), format, args);
    va_end(args);
    console_line("%s", reason);
    console_line("ballast: result failed: %s", reason);
    power_off();
}
