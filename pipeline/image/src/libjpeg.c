// JPEG by libjpeg's own API (libjpeg-turbo's libjpeg.txt). In: a file in memory. Out: its header, then its rows from top to bottom,
// and the worst that was said of it on the way, which TurboJPEG's API does not tell: it keeps the first message alone.
// Never leaves by a jump: an error of the library ends in the function that was called.

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

// What is wrong with a file, the worst last; `Verdict` in jpeg.rs. That a file ends early explains all that follows from it.
enum verdict { FINE, CORRUPT, UNSUPPORTED, OUT_OF_MEMORY, TRUNCATED };

struct tuwen_jpeg {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    int max_scans;
    int verdict;
    char message[JMSG_LENGTH_MAX];
};

struct tuwen_jpeg_header {
    unsigned width;
    unsigned height;
    int components;
    // Whether the rows are CMYK, 4 bytes a pixel; else they are RGB, 3 bytes.
    int is_cmyk;
};

static void note(struct tuwen_jpeg *jpeg, int verdict) {
    if (verdict > jpeg->verdict) {
        jpeg->verdict = verdict;
        jpeg->errors.format_message((j_common_ptr)&jpeg->decoder, jpeg->message);
    }
}

// A warning: the decoder goes on. Harmless are those after which every pixel is still what the file says.
static void warn(j_common_ptr common, int level) {
    struct tuwen_jpeg *jpeg = common->client_data;
    if (level >= 0) return;
    switch (jpeg->errors.msg_code) {
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
        return;
    case JWRN_EXTRANEOUS_DATA:
        // Stray bytes between segments. Before a restart marker they are what damaged data left over.
        if (jpeg->errors.msg_parm.i[1] < 0xd0 || jpeg->errors.msg_parm.i[1] > 0xd7) return;
        note(jpeg, CORRUPT);
        return;
    case JWRN_JPEG_EOF:
        note(jpeg, TRUNCATED);
        return;
    default:
        note(jpeg, CORRUPT);
    }
}

static void fail(j_common_ptr common) {
    struct tuwen_jpeg *jpeg = common->client_data;
    switch (jpeg->errors.msg_code) {
    case JERR_SOF_NO_SOS:
    case JERR_INPUT_EOF:
    case JERR_INPUT_EMPTY:
        note(jpeg, TRUNCATED);
        break;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_EMPTY_IMAGE:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_IMAGE_TOO_BIG:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        note(jpeg, UNSUPPORTED);
        break;
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE:
        note(jpeg, OUT_OF_MEMORY);
        break;
    default:
        note(jpeg, CORRUPT);
    }
    longjmp(jpeg->failed, 1);
}

static void ignore(j_common_ptr common) { (void)common; }

// A progressive file of very many scans is an attack and not a picture.
static void watch(j_common_ptr common) {
    struct tuwen_jpeg *jpeg = common->client_data;
    if (jpeg->decoder.input_scan_number > jpeg->max_scans) {
        if (jpeg->verdict < CORRUPT) {
            jpeg->verdict = CORRUPT;
            snprintf(jpeg->message, sizeof jpeg->message, "more than %d scans", jpeg->max_scans);
        }
        longjmp(jpeg->failed, 1);
    }
}

// A decoder to be used for one file after the other; null if there is no memory.
struct tuwen_jpeg *tuwen_jpeg_new(int max_scans) {
    struct tuwen_jpeg *volatile jpeg = calloc(1, sizeof *jpeg);
    if (!jpeg) return NULL;
    jpeg->decoder.err = jpeg_std_error(&jpeg->errors);
    jpeg->errors.error_exit = fail;
    jpeg->errors.emit_message = warn;
    jpeg->errors.output_message = ignore;
    jpeg->decoder.client_data = jpeg;
    if (setjmp(jpeg->failed)) {
        free(jpeg);
        return NULL;
    }
    jpeg_create_decompress(&jpeg->decoder);
    jpeg->progress.progress_monitor = watch;
    jpeg->decoder.progress = &jpeg->progress;
    jpeg->max_scans = max_scans;
    return jpeg;
}

void tuwen_jpeg_free(struct tuwen_jpeg *jpeg) {
    jpeg_destroy_decompress(&jpeg->decoder);
    free(jpeg);
}

// Begins the file of `length` bytes, which stay where they are until it is done. Whether its header could be read.
int tuwen_jpeg_open(struct tuwen_jpeg *jpeg, const unsigned char *bytes, unsigned long length,
                    struct tuwen_jpeg_header *header) {
    struct jpeg_decompress_struct *decoder = &jpeg->decoder;
    jpeg->verdict = FINE;
    jpeg->message[0] = 0;
    if (setjmp(jpeg->failed)) return 0;
    jpeg_abort_decompress(decoder);
    jpeg_mem_src(decoder, bytes, length);
    jpeg_read_header(decoder, TRUE);
    int is_cmyk = decoder->jpeg_color_space == JCS_CMYK || decoder->jpeg_color_space == JCS_YCCK;
    decoder->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    header->width = decoder->image_width;
    header->height = decoder->image_height;
    header->components = decoder->num_components;
    header->is_cmyk = is_cmyk;
    return 1;
}

// Begins the pixels, at 1/`denominator` of the size. Puts the size that comes of it into `header`.
int tuwen_jpeg_start(struct tuwen_jpeg *jpeg, unsigned denominator, struct tuwen_jpeg_header *header) {
    if (setjmp(jpeg->failed)) return 0;
    jpeg->decoder.scale_num = 1;
    jpeg->decoder.scale_denom = denominator;
    jpeg_start_decompress(&jpeg->decoder);
    header->width = jpeg->decoder.output_width;
    header->height = jpeg->decoder.output_height;
    return 1;
}

static int read_rows(j_decompress_ptr decoder, unsigned char *rows, unsigned long row_bytes, unsigned count) {
    JSAMPROW pointers[16];
    while (count > 0) {
        unsigned wanted = count < 16 ? count : 16;
        for (unsigned i = 0; i < wanted; i++) pointers[i] = rows + i * row_bytes;
        unsigned got = jpeg_read_scanlines(decoder, pointers, wanted);
        // From memory there is always a next row, or an error.
        if (got == 0) return 0;
        rows += row_bytes * got;
        count -= got;
    }
    return 1;
}

// Decodes the next `count` rows of `row_bytes` bytes into `rows`.
int tuwen_jpeg_rows(struct tuwen_jpeg *jpeg, unsigned char *rows, unsigned long row_bytes, unsigned count) {
    if (setjmp(jpeg->failed)) return 0;
    return read_rows(&jpeg->decoder, rows, row_bytes, count);
}

// Reads the file to its end, after the last row.
int tuwen_jpeg_finish(struct tuwen_jpeg *jpeg) {
    if (setjmp(jpeg->failed)) return 0;
    jpeg_finish_decompress(&jpeg->decoder);
    return 1;
}

// The worst that was said of the file since it was opened, and, if there is any, where the words stand.
int tuwen_jpeg_verdict(const struct tuwen_jpeg *jpeg, const char **message) {
    *message = jpeg->message;
    return jpeg->verdict;
}
